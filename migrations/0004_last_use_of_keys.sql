-- When a key last let somebody in, to within a minute; null: never.
ALTER TABLE api_keys ADD COLUMN last_used_at TEXT;
