-- Which backend made `resp_...`: asked for when such an answer is fetched, continued or deleted.
-- Only kinds of requests that are called by their id again, so that the others cost nothing.
create index requests_response on requests(provider_response_id)
  where api = 'responses' and provider_response_id is not null;
