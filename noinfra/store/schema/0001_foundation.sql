-- The first release: tenants, inboxes, mail, threads, events, keys, the outbound queue.
--
-- Two roles, which the daemon takes on at the start of each transaction. Row-level security
-- holds noinfra_tenant to the customer named in the setting noinfra.customer; noinfra_system
-- serves all customers, for the edge and the workers.
--
-- The tables that every mail writes refer by foreign key only where a row must not outlive
-- another (message to folder and content); each check costs the arrival some microseconds.
--
-- Identifiers of the API are text: a prefix and a ULID, so that their order is the order of
-- creation, and paging by key needs no other column.

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

do $$
begin
    if not pg_has_role(current_user, 'noinfra_tenant', 'member') then
        execute format('grant noinfra_tenant to %I', current_user);
    end if;
    if not pg_has_role(current_user, 'noinfra_system', 'member') then
        execute format('grant noinfra_system to %I', current_user);
    end if;
exception when unique_violation or duplicate_object then null;
end $$;

create table customer (
    customer_id text collate "C" primary key,
    name text not null,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table deployment (
    deployment_id text collate "C" primary key,
    customer_id text collate "C" not null references customer on delete cascade,
    name text not null,
    client_id text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint deployment_client_id unique (customer_id, client_id)
);

create table agent (
    agent_id text collate "C" primary key,
    customer_id text collate "C" not null references customer on delete cascade,
    deployment_id text collate "C" not null references deployment on delete cascade,
    name text not null,
    external_id text,
    status text not null default 'active' check (status in ('active', 'suspended')),
    default_inbox_id text collate "C",
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint agent_external_id unique (customer_id, external_id)
);
create index agent_by_deployment on agent (deployment_id, agent_id);
create index agent_by_default_inbox on agent (default_inbox_id);

create table inbox (
    inbox_id text collate "C" primary key,
    customer_id text collate "C" not null references customer on delete cascade,
    deployment_id text collate "C" not null references deployment on delete cascade,
    agent_id text collate "C" references agent on delete cascade,
    -- Canonical: lower case, the domain in A-labels (RFC 5890). What RCPT is looked up by.
    address text collate "C" not null,
    display_name text,
    status text not null default 'active'
        check (status in ('active', 'suspended', 'archived')),
    client_id text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint inbox_address unique (address),
    constraint inbox_client_id unique (customer_id, client_id)
);
create index inbox_by_customer on inbox (customer_id, inbox_id);
create index inbox_by_deployment on inbox (deployment_id, inbox_id);
create index inbox_by_agent on inbox (agent_id, inbox_id);

alter table agent add constraint agent_default_inbox
    foreign key (default_inbox_id) references inbox on delete set null;

-- An address that was once an inbox stays its customer's: nobody else may take it and
-- receive what was meant for the first owner.
create table retired_address (
    address text collate "C" primary key,
    customer_id text collate "C" not null references customer on delete cascade,
    retired_at timestamptz not null default now()
);
create index retired_address_by_customer on retired_address (customer_id);

-- A tenant sees its own rows only, and must still not get the address of another.
create function is_retired(wanted text, wanting text) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
return exists (
    select 1 from public.retired_address
    where address = wanted and customer_id <> wanting
);

create table folder (
    folder_id bigint generated always as identity primary key,
    customer_id text collate "C" not null,
    inbox_id text collate "C" not null references inbox on delete cascade,
    name text not null,
    special_use text,
    uidvalidity bigint not null,
    -- RFC 3501, 2.3.1.1 and RFC 7162: handed out under this row's lock.
    uidnext bigint not null default 1,
    modseq bigint not null default 1,
    subscribed boolean not null default true,
    constraint folder_name unique (inbox_id, name)
);

-- What the octets are, and all that follows from the octets alone, once for each customer.
create table content (
    content_id bigint generated always as identity primary key,
    customer_id text collate "C" not null,
    sha256 bytea not null,
    size bigint not null,
    octets bytea not null,
    -- The part index: path, type, encoding, charset, names and offsets of every MIME part.
    parts json not null,
    envelope bytea not null,
    bodystructure bytea not null,
    text text,
    html text,
    extracted_text text,
    extracted_html text,
    search tsvector,
    constraint content_sha256 unique (customer_id, sha256)
);
-- Mail does not compress well and is read by substring: out of line and as it is.
alter table content alter octets set storage external;
alter table content alter envelope set storage external;
alter table content alter bodystructure set storage external;
create index content_search on content using gin (search);

-- Contents that perhaps no message refers to any more, for the sweeper to look at. A large
-- content is noted here before its message is filed, in case that never happens.
create table unused_content (
    content_id bigint primary key references content on delete cascade,
    customer_id text collate "C" not null,
    since timestamptz not null default now()
);

-- The pieces of a large message on their way into content.octets: what is lost in a crash
-- was never acknowledged.
create unlogged table spool (
    spool_id text collate "C" not null,
    piece integer not null,
    octets bytea not null,
    created_at timestamptz not null default now(),
    primary key (spool_id, piece)
);
alter table spool alter octets set storage external;

create table thread (
    thread_id text collate "C" primary key,
    customer_id text collate "C" not null,
    inbox_id text collate "C" not null references inbox on delete cascade,
    subject text not null,
    message_count integer not null,
    -- Threads are listed by their newest message.
    last_message_id text collate "C" not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index thread_by_activity on thread (inbox_id, last_message_id);

-- Which thread of an inbox a Message-ID belongs to: of mail that came, and of mail that was
-- only mentioned, so that a parent finds the replies that came before it.
create table thread_reference (
    inbox_id text collate "C" not null references inbox on delete cascade,
    digest bytea not null,
    customer_id text collate "C" not null,
    thread_id text collate "C" not null,
    -- The thread began by referring to it, and it has not come: when it does, it may bring
    -- the thread into its own.
    awaited boolean not null,
    primary key (inbox_id, digest)
);
create index thread_reference_by_thread on thread_reference (thread_id);

create table message (
    message_id text collate "C" primary key,
    customer_id text collate "C" not null,
    inbox_id text collate "C" not null,
    folder_id bigint not null references folder on delete cascade,
    uid bigint not null,
    modseq bigint not null,
    thread_id text collate "C" not null,
    content_id bigint not null references content,
    direction text not null check (direction in ('inbound', 'outbound')),
    -- What became of it on the wire; for outbound the worst of its deliveries.
    state text not null,
    labels text[] not null,
    mail_from text not null,
    rcpt_to text,
    tag text,
    rfc_message_id text,
    in_reply_to text,
    reference_ids text[] not null,
    subject text not null,
    from_ json not null,
    to_ json not null,
    cc json not null,
    bcc json not null,
    reply_to json not null,
    preview text not null,
    attachments json not null,
    size bigint not null,
    sent_at timestamptz,
    received_at timestamptz not null,
    updated_at timestamptz not null,
    key_id text collate "C",
    -- Recognises a queueing server's second try after our 250 was lost.
    receipt bytea
);
create unique index message_by_uid on message (folder_id, uid);
create index message_by_inbox on message (inbox_id, message_id);
create index message_by_thread on message (thread_id, message_id);
create index message_by_content on message (content_id);
create index message_by_rfc_id on message (inbox_id, md5(rfc_message_id))
    where direction = 'outbound';
create unique index message_receipt on message (inbox_id, receipt)
    where receipt is not null;

-- The log that every live front reads. A reader's cursor is (txid, seq), and it takes only
-- rows below event_horizon(): a slower transaction may commit a smaller seq later, but
-- never a txid below one that is already visible to all.
create table event (
    seq bigint generated always as identity primary key,
    txid xid8 not null default pg_current_xact_id(),
    type text not null,
    created_at timestamptz not null default now(),
    customer_id text collate "C" not null,
    deployment_id text collate "C",
    agent_id text collate "C",
    inbox_id text collate "C",
    thread_id text collate "C",
    message_id text collate "C",
    data json not null
);
create index event_order on event (txid, seq);
create index event_by_customer on event (customer_id, txid, seq);
create index event_by_inbox on event (inbox_id, txid, seq);

-- The oldest transaction that can still write an event that the snapshot does not see. That
-- is the snapshot's xmin, or later: transactions of other databases on the server, which may
-- take hours, do not count. Those that we may not look at do (see pg_read_all_stats).
create function event_horizon(seen pg_snapshot) returns xid8
language sql stable security definer set search_path = pg_catalog, pg_temp
return coalesce(
    (
        select min(running) from pg_snapshot_xip(seen) as running
        where not exists (
            select 1 from pg_stat_activity
            where backend_xid = running::xid and datname <> current_database()
        )
    ),
    pg_snapshot_xmax(seen)
);

create table key (
    key_id text collate "C" primary key,
    -- Null for a root key, which serves every customer.
    customer_id text collate "C" references customer on delete cascade,
    deployment_id text collate "C" references deployment on delete cascade,
    inbox_id text collate "C" references inbox on delete cascade,
    name text not null,
    prefix text not null,
    sha256 bytea not null unique,
    permissions text[] not null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);
create index key_by_customer on key (customer_id, key_id);
create index key_by_deployment on key (deployment_id);
create index key_by_inbox on key (inbox_id);

-- The answer to a request that carried an Idempotency-Key, for a day.
create table idempotency (
    customer_id text collate "C" not null references customer on delete cascade,
    scope text collate "C" not null,
    idempotency_key text not null,
    request bytea not null,
    message_id text collate "C" not null,
    created_at timestamptz not null default now(),
    constraint idempotency_key primary key (customer_id, scope, idempotency_key)
);
create index idempotency_age on idempotency (created_at);

create table dkim_key (
    domain text collate "C" not null,
    selector text not null,
    algorithm text not null check (algorithm in ('rsa-sha256', 'ed25519-sha256')),
    sealed bytea not null,
    record text not null,
    created_at timestamptz not null default now(),
    primary key (domain, selector)
);

-- One recipient's copy on its way out (RFC 5321, 4.5.4).
create table delivery (
    delivery_id text collate "C" primary key,
    customer_id text collate "C" not null,
    inbox_id text collate "C" not null,
    message_id text collate "C" not null references message on delete cascade,
    mail_from text not null,
    rcpt_to text not null,
    destination text collate "C" not null,
    status text not null default 'queued' check (
        status in ('queued', 'deferred', 'delivered', 'failed')
    ),
    attempts integer not null default 0,
    created_at timestamptz not null default now(),
    -- Claimed means due later: at the end of the lease, should its holder be gone by then.
    due_at timestamptz not null default now(),
    expires_at timestamptz not null,
    lease text,
    settled_at timestamptz,
    -- The last attempt, as the message shows it.
    remote_host text,
    code integer,
    response text,
    -- RFC 3461: what SMTP submission asked for; wants_dsn is false for what the API sent.
    wants_dsn boolean not null default false,
    notify text,
    orcpt text,
    ret text,
    envid text
)
with (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 80);
create index delivery_by_message on delivery (message_id);
create index delivery_due on delivery (due_at)
    where status in ('queued', 'deferred');
create index delivery_by_destination on delivery (destination, due_at)
    where status in ('queued', 'deferred');

create table attempt (
    attempt_id bigint generated always as identity primary key,
    customer_id text collate "C" not null,
    delivery_id text collate "C" not null references delivery on delete cascade,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    remote_host text,
    remote_address text,
    code integer,
    enhanced text,
    response text not null,
    tls text
);
create index attempt_by_delivery on attempt (delivery_id, attempt_id);

-- What we know of a destination, and until when we leave it alone.
create table destination (
    destination text collate "C" primary key,
    failures integer not null default 0,
    paused_until timestamptz,
    remote_host text,
    code integer,
    response text,
    updated_at timestamptz not null default now()
);

do $$
declare
    name text;
begin
    foreach name in array array[
        'customer', 'deployment', 'agent', 'inbox', 'retired_address', 'folder',
        'content', 'unused_content', 'thread', 'thread_reference', 'message', 'event', 'key',
        'idempotency', 'delivery', 'attempt'
    ] loop
        execute format('alter table %I enable row level security', name);
        execute format(
            'create policy tenant on %I to noinfra_tenant '
            'using (customer_id = current_setting(''noinfra.customer'', true)) '
            'with check (customer_id = current_setting(''noinfra.customer'', true))',
            name
        );
        execute format(
            'create policy system on %I to noinfra_system using (true) with check (true)',
            name
        );
        execute format(
            'grant select, insert, update, delete on %I to noinfra_tenant', name
        );
    end loop;
end $$;

grant usage on schema public to noinfra_tenant, noinfra_system;
grant select, insert, update, delete on all tables in schema public to noinfra_system;
grant usage on all sequences in schema public to noinfra_tenant, noinfra_system;
