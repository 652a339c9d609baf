"""The rules of the embedded identity. What stood in the configuration file is believed: it is in no log."""

from domain.log.record import Event
from domain.neighbours.identity import rules
from domain.neighbours.identity.events import (
    ApplicationCredentialCreated,
    ApplicationCredentialDeleted,
    IdentityConfigured,
    ProjectChanged,
    ProjectCreated,
    ProjectDeleted,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    RoleGranted,
    RoleTaken,
    UserChanged,
    UserCreated,
    UserDeleted,
)
from domain.redecision.rules import Rule, as_said

RULES: dict[type[Event], Rule] = {
    IdentityConfigured: as_said,
    ProjectCreated: lambda found, event, _: rules.create_project(found, event),
    ProjectChanged: lambda found, event, _: rules.change_project(found, event),
    ProjectDeleted: lambda found, event, _: rules.delete_project(found, event.project_id),
    RoleCreated: lambda found, event, _: rules.create_role(found, event),
    RoleChanged: lambda found, event, _: rules.change_role(found, event),
    RoleDeleted: lambda found, event, _: rules.delete_role(found, event.role_id),
    UserCreated: lambda found, event, _: rules.create_user(found, event),
    UserChanged: lambda found, event, _: rules.change_user(found, event),
    UserDeleted: lambda found, event, _: rules.delete_user(found, event.user_id),
    RoleGranted: lambda found, event, _: rules.grant(found, event.user_id, event.project_id, event.role_id),
    RoleTaken: lambda found, event, _: rules.take(found, event.user_id, event.project_id, event.role_id),
    ApplicationCredentialCreated: lambda found, event, meta: rules.create_application_credential(
        found, event, meta.time
    ),
    ApplicationCredentialDeleted: lambda found, event, _: rules.delete_application_credential(
        found, event.user_id, event.credential_id
    ),
}
