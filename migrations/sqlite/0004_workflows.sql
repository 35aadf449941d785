-- Workflows: definitions with a name and versions, and the variables that live on them.

create table workflows (
    -- Whose workflow it is.
    organization_id text not null,
    -- The workflow.
    id text not null,
    -- A name for people.
    name text,
    -- Its newest version, from 1.
    version integer not null,
    -- The definition of that version, by content.
    definition_hash text not null references definitions (hash),
    -- Its owner.
    owner_user_id text,
    -- When it was registered.
    created_at text not null,
    -- When it was last registered.
    updated_at text not null,
    primary key (organization_id, id),
    constraint workflows_version_check check (version >= 1)
) strict;

create table workflow_versions (
    -- Whose workflow it is.
    organization_id text not null,
    -- The workflow.
    workflow_id text not null,
    -- The version, from 1.
    version integer not null,
    -- Its definition, by content.
    definition_hash text not null references definitions (hash),
    -- When it was registered.
    created_at text not null,
    primary key (organization_id, workflow_id, version),
    constraint workflow_versions_workflow_fkey foreign key (organization_id, workflow_id) references workflows (organization_id, id)
) strict;

create table workflow_variables (
    -- Whose workflow it is.
    organization_id text not null,
    -- The workflow.
    workflow_id text not null,
    -- The variable.
    name text not null,
    -- Its value, JSON.
    value text not null,
    -- The run that wrote it last; none if somebody set it.
    run_id text,
    -- When.
    updated_at text not null,
    primary key (organization_id, workflow_id, name),
    constraint workflow_variables_workflow_fkey foreign key (organization_id, workflow_id) references workflows (organization_id, id)
) strict;

-- Whether it is a write to the workflow and not to the run only.
alter table variable_writes add column lasts integer not null default 0;

create index runs_of_workflow on runs (organization_id, workflow_id, created_at desc, id desc) where workflow_id is not null;
