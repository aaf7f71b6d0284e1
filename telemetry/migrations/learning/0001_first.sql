-- What outlives a day: verdicts, data sets, models, and what was learned. `request_id` is
-- `requests.id` of a day file, so there is no foreign key.

create table learned(name text primary key, ts_us int not null, data blob not null) strict;

-- how far each journal segment is folded; a row goes with its segment
create table fold_progress(
  segment text primary key, node text not null, worker int not null,
  bytes_done int not null, next_sequence int not null, damages int not null,
  ts_us int not null) strict;

-- frames this version could not read: kept for one that can
create table unread_frames(
  segment text not null, offset int not null, kind int not null, ts_us int not null, payload blob not null,
  primary key(segment, offset)) strict;

create table events(
  segment text not null, offset int not null, ts_us int not null, name text not null, node text not null,
  worker int not null, number int not null, text text, primary key(segment, offset)) strict;

create table feedback(
  id text primary key, request_id text not null, ts_us int not null, name text not null, num real, text text,
  demonstration blob, source text not null, tags text) strict;
create index feedback_req on feedback(request_id, name);

create table labels(
  id text primary key, request_id text not null, input_hash blob not null,
  source text not null check(source in ('teacher', 'human', 'rule', 'judge')),
  model text, prompt_hash text, cache_key text unique, sample_no int not null default 0, output blob, score real,
  verdict text, cost_usd real, ts_us int not null, supersedes text) strict;
create index labels_input on labels(input_hash, ts_us);
create index labels_req on labels(request_id);

-- integer micro-USD, so that sums are exact
create table budgets(
  job_id text primary key, cap_micro int not null, reserved_micro int not null, spent_micro int not null,
  check(reserved_micro + spent_micro <= cap_micro)) strict;

create table datasets(
  id text primary key, name text not null, version int not null, spec text not null, spec_hash text not null,
  parent_id text, created_us int not null, n_rows int not null, content_sha256 text not null, report text not null,
  unique(name, version)) strict;

create table dataset_rows(
  dataset_id text not null, row_no int not null, example_sha256 blob not null, request_id text not null,
  label_id text, group_key blob not null, split text not null, n_tokens int,
  primary key(dataset_id, row_no)) strict, without rowid;
create index dataset_rows_req on dataset_rows(request_id);

create table exclusions(
  dataset_id text not null, reason text not null, n int not null,
  primary key(dataset_id, reason)) strict, without rowid;

create table eval_runs(
  id text primary key, dataset_id text, backend text not null, model text, n int not null, n_err int not null,
  err_lo real, err_hi real, p50_us int, p95_us int, p99_us int, cost_usd real, reasoning_tok int, ece real,
  seed int, ts_us int not null) strict;

create table eval_items(
  run_id text not null, row_no int not null, ok int, score real, latency_us int, cost_usd real, confidence real,
  output blob, primary key(run_id, row_no)) strict, without rowid;

create table models(
  id text primary key, base text not null, base_sha256 text, dataset_id text, method text not null,
  params text not null, template_hash text, artifact_path text, artifact_sha256 text, created_us int not null) strict;

create table deployments(
  id text primary key, model_id text not null, backend text not null,
  stage text not null check(stage in ('shadow', 'canary', 'live', 'rolled_back')),
  share real not null, started_us int not null, ended_us int, decision text) strict;

create table canary_state(
  deployment_id text not null, test text not null, n int not null, log_e real not null, ts_us int not null,
  primary key(deployment_id, test)) strict;

create table tombstones(subject text primary key, kind text not null, ts_us int not null, done_us int) strict;
