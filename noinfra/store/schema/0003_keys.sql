-- A key goes with its customer, deployment or inbox, too. Every process believes a key
-- that it knows for a while, so all are told, however it went.
create function key_went() returns trigger language plpgsql as $$
begin
    perform pg_notify('noinfra_key', went.key_id) from went;
    return null;
end $$;

create trigger key_went after delete on key
    referencing old table as went
    for each statement execute function key_went();
