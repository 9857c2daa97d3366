-- A small schema for the tests of the ground floor, with the roles of the real one.

do $$
begin
    create role noinfra_tenant nologin;
exception when duplicate_object or unique_violation then null;
end $$;

do $$
begin
    create role noinfra_system nologin;
exception when duplicate_object or unique_violation then null;
end $$;

create table note (
    note_id bigint generated always as identity primary key,
    customer_id text not null,
    text text not null check (text <> ''),
    data jsonb not null default '{}',
    octets bytea,
    reply_to bigint references note,
    created_at timestamptz not null default now(),
    constraint note_text unique (customer_id, text)
);

alter table note enable row level security;
create policy tenant on note to noinfra_tenant
    using (customer_id = current_setting('noinfra.customer', true));
create policy system on note to noinfra_system using (true);
grant all on note to noinfra_tenant, noinfra_system;
