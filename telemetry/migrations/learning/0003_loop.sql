-- What benchmarks, teachers and data sets have to remember besides.

alter table eval_items add column first_token_us int;
alter table eval_items add column prompt_tok int;
alter table eval_items add column completion_tok int;
alter table eval_items add column reasoning_tok int;
alter table eval_items add column error_type text;
alter table eval_items add column question_id text;

-- a question sent to a teacher, or written into a batch file for one, and not answered yet
create table label_requests(
  cache_key text primary key, job_id text not null, request_id text not null, input_hash blob not null,
  model text not null, prompt_hash text not null, sample_no int not null, reserved_micro int not null,
  ts_us int not null) strict;
create index label_requests_job on label_requests(job_id);

-- by example, so that a row that was a test row once stays one in every later version
create index dataset_rows_example on dataset_rows(example_sha256) where split = 'test';
create index models_dataset on models(dataset_id);
create index deployments_model on deployments(model_id);
