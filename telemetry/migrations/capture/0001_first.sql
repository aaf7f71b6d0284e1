-- One UTC day of requests. Times are microseconds since the epoch, spans microseconds, money US
-- dollars, null is unknown. Inside a day file children join on `seq`; across files on `id`.

create table folds(
  segment text primary key, node text not null, worker int not null,
  bytes_done int not null, n_rows int not null, ts_us int not null) strict;

create table gaps(ts_us int not null, worker int not null, reason text not null, n int not null) strict;

create table config_snapshots(
  hash text primary key, yaml text not null, git_rev text, created_us int not null) strict;

create table zdicts(
  id integer primary key, sha256 blob not null unique, data blob not null, created_us int not null) strict;

create table blobs(
  sha256 blob primary key, codec int not null, n_raw int not null, data blob not null) strict, without rowid;

-- codec 0 raw bytes, 1 zstd, 2 zstd with a dictionary, 3 literal pieces and blob references
create table bodies(
  id integer primary key, codec int not null, n_raw int not null, crc32c int not null, data blob not null) strict;

-- pieces of answers whose record has not come yet
create table parts(
  id text not null, n int not null, writer text not null, data blob not null, primary key(id, n)) strict;

create table requests(
  seq integer primary key,
  id text not null unique,
  ts_us int not null,
  api text not null,
  status text not null,
  complete int not null,
  http_status int,
  error_type text,
  finish_reason text,
  capture text,
  source text,
  node text,
  worker int,
  route text,
  policy text,
  config_hash text references config_snapshots(hash),
  backend text,
  decided text,
  model_asked text,
  model_used text,
  model_reported text,
  price_version text,
  caller text,
  user_tag text,
  conversation_id text,
  parent_id text,
  task text,
  labels text,
  labels_ignored int default 0,
  client_request_id text,
  seed int,
  state text,
  reason text,
  plan text,
  edited text,
  stream int default 0,
  n int default 1,
  has_tools int default 0,
  has_images int default 0,
  response_format text,
  input_hash blob,
  req_body int references bodies(id),
  resp_body int references bodies(id),
  request_bytes int,
  response_bytes int,
  request_sha256 blob,
  response_sha256 blob,
  prompt_tok int,
  completion_tok int,
  reasoning_tok int,
  cached_tok int,
  cache_write_tok int,
  tok_estimated int default 0,
  cost_usd real,
  ttft_us int,
  total_us int,
  proxy_us int,
  confidence real,
  escalated int default 0,
  canary text,
  sticky int default 0,
  simulated int default 0,
  unparsed int default 0,
  provider_response_id text,
  pii_state int default 0,
  row_crc int) strict;
create index requests_ts on requests(ts_us);
create index requests_route on requests(route, ts_us);
-- by input_hash, conversation_id and user_tag: once the day is over, see finished_days.py

-- every candidate of every decision
create table decisions(
  request_seq int not null references requests(seq), rank int not null, backend text not null,
  pred_cost_usd real, pred_latency_us int, pred_latency_p95_us int, pred_p_within real, pred_p_ok real,
  score real, propensity real, eligible int not null, reason text, chosen int not null, explore int not null,
  prior int not null, primary key(request_seq, rank)) strict, without rowid;

create table attempts(
  id integer primary key, request_seq int not null references requests(seq), n int not null,
  kind text not null check(kind = 'primary' or kind = 'retry' or kind = 'fallback' or kind = 'hedge'
    or kind = 'escalation' or kind = 'shadow' or kind = 'canary' or kind = 'agreement' or kind = 'judge'
    or kind = 'probe'), -- `in (...)` costs 1.7 us a row: it builds its list each time
  backend text not null, model text, start_us int not null, ttft_us int, total_us int,
  http_status int, error_type text, finish_reason text,
  prompt_tok int, completion_tok int, reasoning_tok int, cached_tok int, cache_write_tok int, cost_usd real,
  body int references bodies(id), confidence real, mean_logprob real, min_logprob real,
  served_at_once int, won int not null) strict;
create index attempts_req on attempts(request_seq);

create view v_calls as select
  r.id, strftime('%Y-%m-%dT%H:%M:%fZ', r.ts_us / 1e6, 'unixepoch') ts, r.route, r.backend, r.model_reported,
  r.status, r.complete, r.finish_reason, r.caller, r.prompt_tok, r.completion_tok, r.reasoning_tok, r.cost_usd,
  r.ttft_us / 1e3 ttft_ms, r.total_us / 1e3 total_ms, r.confidence, r.escalated, r.simulated,
  hex(r.input_hash) input_hash, lower(hex(r.request_sha256)) request_sha256,
  lower(hex(r.response_sha256)) response_sha256,
  case when q.codec = 0 then cast(q.data as text) end request,
  case when a.codec = 0 then cast(a.data as text) end response
  from requests r left join bodies q on q.id = r.req_body left join bodies a on a.id = r.resp_body;

create view v_decisions as select r.id, d.* from decisions d join requests r on r.seq = d.request_seq;

create view v_attempts as select r.id request_id, a.* from attempts a join requests r on r.seq = a.request_seq;

create view v_spend as select
  route, backend, count(*) n, sum(cost_usd) usd, 1000 * avg(cost_usd) usd_per_1k, avg(status <> 'ok') error_rate
  from requests group by route, backend;
