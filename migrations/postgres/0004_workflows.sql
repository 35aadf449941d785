-- Workflows: definitions with a name and versions, and the variables that live on them.

create table workflows (
    organization_id text collate "C" not null,
    id text collate "C" not null,
    name text,
    version bigint not null,
    definition_hash text collate "C" not null references definitions (hash),
    owner_user_id text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (organization_id, id),
    constraint workflows_version_check check (version >= 1)
);
comment on table workflows is 'Registered workflows.';
comment on column workflows.organization_id is 'Whose workflow it is.';
comment on column workflows.id is 'The workflow.';
comment on column workflows.name is 'A name for people.';
comment on column workflows.version is 'Its newest version, from 1.';
comment on column workflows.definition_hash is 'The definition of that version, by content.';
comment on column workflows.owner_user_id is 'Its owner.';
comment on column workflows.created_at is 'When it was registered.';
comment on column workflows.updated_at is 'When it was last registered.';

create table workflow_versions (
    organization_id text collate "C" not null,
    workflow_id text collate "C" not null,
    version bigint not null,
    definition_hash text collate "C" not null references definitions (hash),
    created_at timestamptz not null,
    primary key (organization_id, workflow_id, version),
    constraint workflow_versions_workflow_fkey foreign key (organization_id, workflow_id) references workflows (organization_id, id)
);
comment on table workflow_versions is 'Every version of every workflow.';
comment on column workflow_versions.organization_id is 'Whose workflow it is.';
comment on column workflow_versions.workflow_id is 'The workflow.';
comment on column workflow_versions.version is 'The version, from 1.';
comment on column workflow_versions.definition_hash is 'Its definition, by content.';
comment on column workflow_versions.created_at is 'When it was registered.';

create table workflow_variables (
    organization_id text collate "C" not null,
    workflow_id text collate "C" not null,
    name text not null,
    value text not null,
    run_id text collate "C",
    updated_at timestamptz not null,
    primary key (organization_id, workflow_id, name),
    constraint workflow_variables_workflow_fkey foreign key (organization_id, workflow_id) references workflows (organization_id, id)
);
comment on table workflow_variables is 'Values of variables that outlive a run.';
comment on column workflow_variables.organization_id is 'Whose workflow it is.';
comment on column workflow_variables.workflow_id is 'The workflow.';
comment on column workflow_variables.name is 'The variable.';
comment on column workflow_variables.value is 'Its value, JSON.';
comment on column workflow_variables.run_id is 'The run that wrote it last; none if somebody set it.';
comment on column workflow_variables.updated_at is 'When.';

alter table variable_writes
    add column lasts boolean not null default false;
comment on column variable_writes.lasts is 'Whether it is a write to the workflow and not to the run only.';

create index runs_of_workflow on runs (organization_id, workflow_id, created_at desc, id desc) where workflow_id is not null;
