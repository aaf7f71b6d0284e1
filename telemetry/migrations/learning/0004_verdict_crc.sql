-- Checksum of the row as it was folded, so that a flipped bit is found; null where somebody else
-- than the fold wrote it.
alter table feedback add column row_crc int;
alter table labels add column row_crc int;
