-- Labels a server makes itself: who was asked, what it took, with which probability the request
-- was drawn. The table is made anew for its check; rows lose a checksum made of fewer columns.
create table labels_new(
  id text primary key, request_id text not null, input_hash blob not null,
  source text not null check(source in ('teacher', 'human', 'rule', 'judge', 'shadow', 'canary')),
  model text, prompt_hash text, cache_key text unique, sample_no int not null default 0, output blob, score real,
  verdict text, cost_usd real, ts_us int not null, supersedes text, row_crc int,
  probability real, route text, backend text, total_us int,
  prompt_tok int, completion_tok int, reasoning_tok int, agrees int) strict;
insert into labels_new(
    id, request_id, input_hash, source, model, prompt_hash, cache_key, sample_no, output, score, verdict, cost_usd,
    ts_us, supersedes)
  select id, request_id, input_hash, source, model, prompt_hash, cache_key, sample_no, output, score, verdict, cost_usd,
    ts_us, supersedes from labels;
drop table labels;
alter table labels_new rename to labels;
create index labels_input on labels(input_hash, ts_us);
create index labels_req on labels(request_id);
