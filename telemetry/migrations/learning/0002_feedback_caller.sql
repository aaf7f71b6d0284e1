-- Whose key gave it; null where no key was asked for.
alter table feedback add column caller text;
