-- The schema that the numbered files come to, as PostgreSQL 18 tells it. For reading:
-- bin/schema writes this, a test compares it, and nothing runs it.

CREATE FUNCTION public.event_horizon(seen pg_snapshot) RETURNS xid8
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN COALESCE((SELECT min(running.running) AS min FROM pg_snapshot_xip(event_horizon.seen) running(running) WHERE (NOT (EXISTS (SELECT 1 FROM pg_stat_activity WHERE ((pg_stat_activity.backend_xid = (running.running)::xid) AND (pg_stat_activity.datname <> current_database())))))), pg_snapshot_xmax(seen));

CREATE TABLE public.retired_address (
    address text NOT NULL COLLATE pg_catalog."C",
    customer_id text NOT NULL COLLATE pg_catalog."C",
    retired_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE FUNCTION public.is_retired(wanted text, wanting text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN (EXISTS (SELECT 1 FROM public.retired_address WHERE ((retired_address.address = is_retired.wanted) AND (retired_address.customer_id <> is_retired.wanting))));

CREATE FUNCTION public.key_went() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_notify('noinfra_key', went.key_id) from went;
    return null;
end $$;

CREATE FUNCTION public.message_came() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    update folder set messages = folder.messages + held.messages,
        unseen = folder.unseen + held.unseen, deleted = folder.deleted + held.deleted,
        octets = folder.octets + held.octets
    from (
        select folder_id, count(*) as messages,
            count(*) filter (where 'unread' = any(labels)) as unseen,
            count(*) filter (where '\Deleted' = any(flags)) as deleted,
            sum(size) as octets
        from came group by folder_id
    ) as held
    where folder.folder_id = held.folder_id;
    return null;
end $$;

CREATE FUNCTION public.message_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    update folder set messages = folder.messages + held.messages,
        unseen = folder.unseen + held.unseen, deleted = folder.deleted + held.deleted,
        octets = folder.octets + held.octets
    from (
        select folder_id, sum(way) as messages,
            sum(way) filter (where 'unread' = any(labels)) as unseen,
            sum(way) filter (where '\Deleted' = any(flags)) as deleted,
            sum(way * size) as octets
        from (
            select folder_id, 1 as way, labels, flags, size from came
            union all
            select folder_id, -1, labels, flags, size from went
        ) as rows
        group by folder_id
    ) as sums, lateral (
        select sums.messages, coalesce(sums.unseen, 0) as unseen,
            coalesce(sums.deleted, 0) as deleted, sums.octets
    ) as held
    where folder.folder_id = sums.folder_id
    and (held.messages, held.unseen, held.deleted, held.octets) <> (0, 0, 0, 0);
    with gone as (
        select folder_id, uid, customer_id from went
        except
        select folder_id, uid, customer_id from came
    ),
    grown as (
        update folder set modseq = modseq + 1
        where folder_id in (select folder_id from gone)
        returning folder_id, modseq
    )
    insert into expunged (folder_id, modseq, uid, customer_id)
    select folder_id, modseq, uid, customer_id from gone join grown using (folder_id);
    return null;
end $$;

CREATE FUNCTION public.message_went() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    with grown as (
        update folder set messages = folder.messages - held.messages,
            unseen = folder.unseen - held.unseen,
            deleted = folder.deleted - held.deleted,
            octets = folder.octets - held.octets, modseq = modseq + 1
        from (
            select folder_id, count(*) as messages,
                count(*) filter (where 'unread' = any(labels)) as unseen,
                count(*) filter (where '\Deleted' = any(flags)) as deleted,
                sum(size) as octets
            from went group by folder_id
        ) as held
        where folder.folder_id = held.folder_id
        returning folder.folder_id, modseq
    )
    insert into expunged (folder_id, modseq, uid, customer_id)
    select folder_id, grown.modseq, uid, went.customer_id from went join grown using (folder_id);
    return null;
end $$;

CREATE TABLE public.agent (
    agent_id text NOT NULL COLLATE pg_catalog."C",
    customer_id text NOT NULL COLLATE pg_catalog."C",
    deployment_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    external_id text,
    status text DEFAULT 'active'::text NOT NULL,
    default_inbox_id text COLLATE pg_catalog."C",
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT agent_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text])))
);

CREATE TABLE public.attempt (
    attempt_id bigint NOT NULL,
    customer_id text NOT NULL COLLATE pg_catalog."C",
    delivery_id text NOT NULL COLLATE pg_catalog."C",
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    remote_host text,
    remote_address text,
    code integer,
    enhanced text,
    response text NOT NULL,
    tls text
);

ALTER TABLE public.attempt ALTER COLUMN attempt_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.attempt_attempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.content (
    content_id bigint NOT NULL,
    customer_id text NOT NULL COLLATE pg_catalog."C",
    sha256 bytea NOT NULL,
    size bigint NOT NULL,
    octets bytea NOT NULL,
    parts json NOT NULL,
    envelope bytea NOT NULL,
    bodystructure bytea NOT NULL,
    text text,
    html text,
    extracted_text text,
    extracted_html text,
    search tsvector
);
ALTER TABLE ONLY public.content ALTER COLUMN octets SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.content ALTER COLUMN envelope SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.content ALTER COLUMN bodystructure SET STORAGE EXTERNAL;

ALTER TABLE public.content ALTER COLUMN content_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.content_content_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.customer (
    customer_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.delivery (
    delivery_id text NOT NULL COLLATE pg_catalog."C",
    customer_id text NOT NULL COLLATE pg_catalog."C",
    inbox_id text NOT NULL COLLATE pg_catalog."C",
    message_id text NOT NULL COLLATE pg_catalog."C",
    mail_from text NOT NULL,
    rcpt_to text NOT NULL,
    destination text NOT NULL COLLATE pg_catalog."C",
    status text DEFAULT 'queued'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    lease text,
    settled_at timestamp with time zone,
    remote_host text,
    code integer,
    response text,
    wants_dsn boolean DEFAULT false NOT NULL,
    notify text,
    orcpt text,
    ret text,
    envid text,
    CONSTRAINT delivery_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'deferred'::text, 'delivered'::text, 'failed'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0.02', fillfactor='80');

CREATE TABLE public.deployment (
    deployment_id text NOT NULL COLLATE pg_catalog."C",
    customer_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    client_id text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.destination (
    destination text NOT NULL COLLATE pg_catalog."C",
    failures integer DEFAULT 0 NOT NULL,
    paused_until timestamp with time zone,
    remote_host text,
    code integer,
    response text,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.dkim_key (
    domain text NOT NULL COLLATE pg_catalog."C",
    selector text NOT NULL,
    algorithm text NOT NULL,
    sealed bytea NOT NULL,
    record text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT dkim_key_algorithm_check CHECK ((algorithm = ANY (ARRAY['rsa-sha256'::text, 'ed25519-sha256'::text])))
);

CREATE TABLE public.event (
    seq bigint NOT NULL,
    txid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    type text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    customer_id text NOT NULL COLLATE pg_catalog."C",
    deployment_id text COLLATE pg_catalog."C",
    agent_id text COLLATE pg_catalog."C",
    inbox_id text COLLATE pg_catalog."C",
    thread_id text COLLATE pg_catalog."C",
    message_id text COLLATE pg_catalog."C",
    data json NOT NULL
);

ALTER TABLE public.event ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.event_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.expunged (
    folder_id bigint NOT NULL,
    modseq bigint NOT NULL,
    uid bigint NOT NULL,
    customer_id text NOT NULL COLLATE pg_catalog."C",
    expunged_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.folder (
    folder_id bigint NOT NULL,
    customer_id text NOT NULL COLLATE pg_catalog."C",
    inbox_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    special_use text,
    uidvalidity bigint NOT NULL,
    uidnext bigint DEFAULT 1 NOT NULL,
    modseq bigint DEFAULT 1 NOT NULL,
    subscribed boolean DEFAULT true NOT NULL,
    messages integer DEFAULT 0 NOT NULL,
    unseen integer DEFAULT 0 NOT NULL,
    deleted integer DEFAULT 0 NOT NULL,
    octets bigint DEFAULT 0 NOT NULL,
    forgotten bigint DEFAULT 0 NOT NULL
);

ALTER TABLE public.folder ALTER COLUMN folder_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.folder_folder_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.idempotency (
    customer_id text NOT NULL COLLATE pg_catalog."C",
    scope text NOT NULL COLLATE pg_catalog."C",
    idempotency_key text NOT NULL,
    request bytea NOT NULL,
    message_id text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.inbox (
    inbox_id text NOT NULL COLLATE pg_catalog."C",
    customer_id text NOT NULL COLLATE pg_catalog."C",
    deployment_id text NOT NULL COLLATE pg_catalog."C",
    agent_id text COLLATE pg_catalog."C",
    address text NOT NULL COLLATE pg_catalog."C",
    display_name text,
    status text DEFAULT 'active'::text NOT NULL,
    client_id text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    uidvalidity bigint DEFAULT 0 NOT NULL,
    CONSTRAINT inbox_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text, 'archived'::text])))
);

CREATE TABLE public.inbox_password (
    inbox_id text NOT NULL COLLATE pg_catalog."C",
    customer_id text NOT NULL COLLATE pg_catalog."C",
    password_id text NOT NULL COLLATE pg_catalog."C",
    hash text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.key (
    key_id text NOT NULL COLLATE pg_catalog."C",
    customer_id text COLLATE pg_catalog."C",
    deployment_id text COLLATE pg_catalog."C",
    inbox_id text COLLATE pg_catalog."C",
    name text NOT NULL,
    prefix text NOT NULL,
    sha256 bytea NOT NULL,
    permissions text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone
);

CREATE TABLE public.message (
    message_id text NOT NULL COLLATE pg_catalog."C",
    customer_id text NOT NULL COLLATE pg_catalog."C",
    inbox_id text NOT NULL COLLATE pg_catalog."C",
    folder_id bigint NOT NULL,
    uid bigint NOT NULL,
    modseq bigint NOT NULL,
    thread_id text NOT NULL COLLATE pg_catalog."C",
    content_id bigint NOT NULL,
    direction text NOT NULL,
    state text NOT NULL,
    labels text[] NOT NULL,
    mail_from text NOT NULL,
    rcpt_to text,
    tag text,
    rfc_message_id text,
    in_reply_to text,
    reference_ids text[] NOT NULL,
    subject text NOT NULL,
    from_ json NOT NULL,
    to_ json NOT NULL,
    cc json NOT NULL,
    bcc json NOT NULL,
    reply_to json NOT NULL,
    preview text NOT NULL,
    attachments json NOT NULL,
    size bigint NOT NULL,
    sent_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    key_id text COLLATE pg_catalog."C",
    receipt bytea,
    flags text[] DEFAULT '{}'::text[] NOT NULL,
    saved_at timestamp with time zone DEFAULT now(),
    CONSTRAINT message_direction_check CHECK ((direction = ANY (ARRAY['inbound'::text, 'outbound'::text])))
);

CREATE UNLOGGED TABLE public.spool (
    spool_id text NOT NULL COLLATE pg_catalog."C",
    piece integer NOT NULL,
    octets bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE ONLY public.spool ALTER COLUMN octets SET STORAGE EXTERNAL;

CREATE TABLE public.subscription (
    inbox_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    customer_id text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE public.thread (
    thread_id text NOT NULL COLLATE pg_catalog."C",
    customer_id text NOT NULL COLLATE pg_catalog."C",
    inbox_id text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL,
    message_count integer NOT NULL,
    last_message_id text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);

CREATE TABLE public.thread_reference (
    inbox_id text NOT NULL COLLATE pg_catalog."C",
    digest bytea NOT NULL,
    customer_id text NOT NULL COLLATE pg_catalog."C",
    thread_id text NOT NULL COLLATE pg_catalog."C",
    awaited boolean NOT NULL
);

CREATE TABLE public.unused_content (
    content_id bigint NOT NULL,
    customer_id text NOT NULL COLLATE pg_catalog."C",
    since timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.agent
    ADD CONSTRAINT agent_external_id UNIQUE (customer_id, external_id);

ALTER TABLE ONLY public.agent
    ADD CONSTRAINT agent_pkey PRIMARY KEY (agent_id);

ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (attempt_id);

ALTER TABLE ONLY public.content
    ADD CONSTRAINT content_pkey PRIMARY KEY (content_id);

ALTER TABLE ONLY public.content
    ADD CONSTRAINT content_sha256 UNIQUE (customer_id, sha256);

ALTER TABLE ONLY public.customer
    ADD CONSTRAINT customer_pkey PRIMARY KEY (customer_id);

ALTER TABLE ONLY public.delivery
    ADD CONSTRAINT delivery_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY public.deployment
    ADD CONSTRAINT deployment_client_id UNIQUE (customer_id, client_id);

ALTER TABLE ONLY public.deployment
    ADD CONSTRAINT deployment_pkey PRIMARY KEY (deployment_id);

ALTER TABLE ONLY public.destination
    ADD CONSTRAINT destination_pkey PRIMARY KEY (destination);

ALTER TABLE ONLY public.dkim_key
    ADD CONSTRAINT dkim_key_pkey PRIMARY KEY (domain, selector);

ALTER TABLE ONLY public.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY public.expunged
    ADD CONSTRAINT expunged_pkey PRIMARY KEY (folder_id, modseq, uid);

ALTER TABLE ONLY public.folder
    ADD CONSTRAINT folder_name UNIQUE (inbox_id, name);

ALTER TABLE ONLY public.folder
    ADD CONSTRAINT folder_pkey PRIMARY KEY (folder_id);

ALTER TABLE ONLY public.idempotency
    ADD CONSTRAINT idempotency_key PRIMARY KEY (customer_id, scope, idempotency_key);

ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_address UNIQUE (address);

ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_client_id UNIQUE (customer_id, client_id);

ALTER TABLE ONLY public.inbox_password
    ADD CONSTRAINT inbox_password_pkey PRIMARY KEY (inbox_id);

ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (inbox_id);

ALTER TABLE ONLY public.key
    ADD CONSTRAINT key_pkey PRIMARY KEY (key_id);

ALTER TABLE ONLY public.key
    ADD CONSTRAINT key_sha256_key UNIQUE (sha256);

ALTER TABLE ONLY public.message
    ADD CONSTRAINT message_pkey PRIMARY KEY (message_id);

ALTER TABLE ONLY public.retired_address
    ADD CONSTRAINT retired_address_pkey PRIMARY KEY (address);

ALTER TABLE ONLY public.spool
    ADD CONSTRAINT spool_pkey PRIMARY KEY (spool_id, piece);

ALTER TABLE ONLY public.subscription
    ADD CONSTRAINT subscription_pkey PRIMARY KEY (inbox_id, name);

ALTER TABLE ONLY public.thread
    ADD CONSTRAINT thread_pkey PRIMARY KEY (thread_id);

ALTER TABLE ONLY public.thread_reference
    ADD CONSTRAINT thread_reference_pkey PRIMARY KEY (inbox_id, digest);

ALTER TABLE ONLY public.unused_content
    ADD CONSTRAINT unused_content_pkey PRIMARY KEY (content_id);

CREATE INDEX agent_by_default_inbox ON public.agent USING btree (default_inbox_id);

CREATE INDEX agent_by_deployment ON public.agent USING btree (deployment_id, agent_id);

CREATE INDEX attempt_by_delivery ON public.attempt USING btree (delivery_id, attempt_id);

CREATE INDEX content_search ON public.content USING gin (search);

CREATE INDEX delivery_by_destination ON public.delivery USING btree (destination, due_at) WHERE (status = ANY (ARRAY['queued'::text, 'deferred'::text]));

CREATE INDEX delivery_by_message ON public.delivery USING btree (message_id);

CREATE INDEX delivery_due ON public.delivery USING btree (due_at) WHERE (status = ANY (ARRAY['queued'::text, 'deferred'::text]));

CREATE INDEX event_by_customer ON public.event USING btree (customer_id, txid, seq);

CREATE INDEX event_by_inbox ON public.event USING btree (inbox_id, txid, seq);

CREATE INDEX event_order ON public.event USING btree (txid, seq);

CREATE INDEX expunged_by_age ON public.expunged USING btree (expunged_at);

CREATE INDEX idempotency_age ON public.idempotency USING btree (created_at);

CREATE INDEX inbox_by_agent ON public.inbox USING btree (agent_id, inbox_id);

CREATE INDEX inbox_by_customer ON public.inbox USING btree (customer_id, inbox_id);

CREATE INDEX inbox_by_deployment ON public.inbox USING btree (deployment_id, inbox_id);

CREATE INDEX key_by_customer ON public.key USING btree (customer_id, key_id);

CREATE INDEX key_by_deployment ON public.key USING btree (deployment_id);

CREATE INDEX key_by_inbox ON public.key USING btree (inbox_id);

CREATE INDEX message_by_content ON public.message USING btree (content_id);

CREATE INDEX message_by_inbox ON public.message USING btree (inbox_id, message_id);

CREATE INDEX message_by_modseq ON public.message USING btree (folder_id, modseq);

CREATE INDEX message_by_rfc_id ON public.message USING btree (inbox_id, md5(rfc_message_id)) WHERE (direction = 'outbound'::text);

CREATE INDEX message_by_thread ON public.message USING btree (thread_id, message_id);

CREATE UNIQUE INDEX message_by_uid ON public.message USING btree (folder_id, uid) INCLUDE (customer_id);

CREATE UNIQUE INDEX message_receipt ON public.message USING btree (inbox_id, receipt) WHERE (receipt IS NOT NULL);

CREATE INDEX message_to_expunge ON public.message USING btree (folder_id, uid) WHERE ('\Deleted'::text = ANY (flags));

CREATE INDEX message_unread ON public.message USING btree (folder_id, uid) WHERE ('unread'::text = ANY (labels));

CREATE INDEX retired_address_by_customer ON public.retired_address USING btree (customer_id);

CREATE INDEX thread_by_activity ON public.thread USING btree (inbox_id, last_message_id);

CREATE INDEX thread_reference_by_thread ON public.thread_reference USING btree (thread_id);

CREATE TRIGGER key_went AFTER DELETE ON public.key REFERENCING OLD TABLE AS went FOR EACH STATEMENT EXECUTE FUNCTION public.key_went();

CREATE TRIGGER message_came AFTER INSERT ON public.message REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION public.message_came();

CREATE TRIGGER message_changed AFTER UPDATE ON public.message REFERENCING OLD TABLE AS went NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION public.message_changed();

CREATE TRIGGER message_went AFTER DELETE ON public.message REFERENCING OLD TABLE AS went FOR EACH STATEMENT EXECUTE FUNCTION public.message_went();

ALTER TABLE ONLY public.agent
    ADD CONSTRAINT agent_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES public.customer(customer_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.agent
    ADD CONSTRAINT agent_default_inbox FOREIGN KEY (default_inbox_id) REFERENCES public.inbox(inbox_id) ON DELETE SET NULL;

ALTER TABLE ONLY public.agent
    ADD CONSTRAINT agent_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES public.deployment(deployment_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.delivery(delivery_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.delivery
    ADD CONSTRAINT delivery_message_id_fkey FOREIGN KEY (message_id) REFERENCES public.message(message_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.deployment
    ADD CONSTRAINT deployment_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES public.customer(customer_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.expunged
    ADD CONSTRAINT expunged_folder_id_fkey FOREIGN KEY (folder_id) REFERENCES public.folder(folder_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.folder
    ADD CONSTRAINT folder_inbox_id_fkey FOREIGN KEY (inbox_id) REFERENCES public.inbox(inbox_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.idempotency
    ADD CONSTRAINT idempotency_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES public.customer(customer_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES public.agent(agent_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES public.customer(customer_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES public.deployment(deployment_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.inbox_password
    ADD CONSTRAINT inbox_password_inbox_id_fkey FOREIGN KEY (inbox_id) REFERENCES public.inbox(inbox_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.key
    ADD CONSTRAINT key_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES public.customer(customer_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.key
    ADD CONSTRAINT key_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES public.deployment(deployment_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.key
    ADD CONSTRAINT key_inbox_id_fkey FOREIGN KEY (inbox_id) REFERENCES public.inbox(inbox_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.message
    ADD CONSTRAINT message_content_id_fkey FOREIGN KEY (content_id) REFERENCES public.content(content_id);

ALTER TABLE ONLY public.message
    ADD CONSTRAINT message_folder_id_fkey FOREIGN KEY (folder_id) REFERENCES public.folder(folder_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.retired_address
    ADD CONSTRAINT retired_address_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES public.customer(customer_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.subscription
    ADD CONSTRAINT subscription_inbox_id_fkey FOREIGN KEY (inbox_id) REFERENCES public.inbox(inbox_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.thread
    ADD CONSTRAINT thread_inbox_id_fkey FOREIGN KEY (inbox_id) REFERENCES public.inbox(inbox_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.thread_reference
    ADD CONSTRAINT thread_reference_inbox_id_fkey FOREIGN KEY (inbox_id) REFERENCES public.inbox(inbox_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.unused_content
    ADD CONSTRAINT unused_content_content_id_fkey FOREIGN KEY (content_id) REFERENCES public.content(content_id) ON DELETE CASCADE;

ALTER TABLE public.agent ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.attempt ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.content ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.customer ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.delivery ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.deployment ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.event ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.expunged ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.folder ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.idempotency ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.inbox ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.inbox_password ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.key ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.message ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.retired_address ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.subscription ENABLE ROW LEVEL SECURITY;

CREATE POLICY system ON public.agent TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.attempt TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.content TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.customer TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.delivery TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.deployment TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.event TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.expunged TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.folder TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.idempotency TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.inbox TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.inbox_password TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.key TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.message TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.retired_address TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.subscription TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.thread TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.thread_reference TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY system ON public.unused_content TO noinfra_system USING (true) WITH CHECK (true);

CREATE POLICY tenant ON public.agent TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.attempt TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.content TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.customer TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.delivery TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.deployment TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.event TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.expunged TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.folder TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.idempotency TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.inbox TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.inbox_password TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.key TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.message TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.retired_address TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.subscription TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.thread TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.thread_reference TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

CREATE POLICY tenant ON public.unused_content TO noinfra_tenant USING ((customer_id = current_setting('noinfra.customer'::text, true))) WITH CHECK ((customer_id = current_setting('noinfra.customer'::text, true)));

ALTER TABLE public.thread ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.thread_reference ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.unused_content ENABLE ROW LEVEL SECURITY;

GRANT USAGE ON SCHEMA public TO noinfra_tenant;
GRANT USAGE ON SCHEMA public TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.retired_address TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.retired_address TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.agent TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.agent TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.attempt TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.attempt TO noinfra_system;

GRANT USAGE ON SEQUENCE public.attempt_attempt_id_seq TO noinfra_tenant;
GRANT USAGE ON SEQUENCE public.attempt_attempt_id_seq TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.content TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.content TO noinfra_system;

GRANT USAGE ON SEQUENCE public.content_content_id_seq TO noinfra_tenant;
GRANT USAGE ON SEQUENCE public.content_content_id_seq TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.customer TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.customer TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.delivery TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.delivery TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.deployment TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.deployment TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.destination TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.dkim_key TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.event TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.event TO noinfra_system;

GRANT USAGE ON SEQUENCE public.event_seq_seq TO noinfra_tenant;
GRANT USAGE ON SEQUENCE public.event_seq_seq TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.expunged TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.expunged TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.folder TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.folder TO noinfra_system;

GRANT USAGE ON SEQUENCE public.folder_folder_id_seq TO noinfra_tenant;
GRANT USAGE ON SEQUENCE public.folder_folder_id_seq TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.idempotency TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.idempotency TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.inbox TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.inbox TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.inbox_password TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.inbox_password TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.key TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.key TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.message TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.message TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.spool TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.subscription TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.subscription TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.thread TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.thread TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.thread_reference TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.thread_reference TO noinfra_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.unused_content TO noinfra_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.unused_content TO noinfra_system;
