"""The policy: the defaults as a table, and what a policy file may say."""

from pathlib import Path

import pytest

from adapters.rest.kit.policy_checks import read_overrides
from adapters.rest.placement.access import Actor
from adapters.rest.placement.policy import ADMIN_OR_SERVICE, PROJECT_READER, SERVICE, Policy
from domain.errors import Invalid, Refused
from ops.roles.placement import check
from ops.settings import PlacementSettings, Settings

POLICY = "placement:something"


def _allowed(policy: Policy, rule: str, *roles: str, project: str = "mine", of_system: bool = False) -> bool:
    actor = Actor("user", "mine", frozenset(roles), of_system)
    try:
        policy.check(actor, {"project_id": project}, POLICY, rule)
    except Refused as refusal:
        if refusal.status != 403 or POLICY not in refusal.message:
            raise
        return False
    return True


@pytest.mark.parametrize(
    ("rule", "roles", "project", "allowed"),
    [
        (ADMIN_OR_SERVICE, ("admin",), "mine", True),
        (ADMIN_OR_SERVICE, ("service",), "mine", False),
        (ADMIN_OR_SERVICE, ("member", "reader"), "mine", False),
        (SERVICE, ("admin", "service"), "mine", True),
        (SERVICE, ("service",), "mine", False),
        (SERVICE, ("admin",), "mine", False),
        (PROJECT_READER, ("service",), "mine", False),
        (PROJECT_READER, ("reader",), "mine", True),
        (PROJECT_READER, ("reader",), "theirs", False),
        (PROJECT_READER, ("admin",), "theirs", True),
        (PROJECT_READER, (), "mine", False),
    ],
)
def test_the_default_policy(rule: str, roles: tuple[str, ...], project: str, allowed: bool) -> None:
    assert _allowed(Policy(), rule, *roles, project=project) is allowed
    assert not _allowed(Policy(), rule, *roles, project=project, of_system=True)


def test_services_that_are_trusted() -> None:
    for rule in (ADMIN_OR_SERVICE, SERVICE, PROJECT_READER):
        assert _allowed(Policy(trust_services=True), rule, "service", project="theirs")
    assert not _allowed(Policy(trust_services=True), SERVICE, "admin")
    assert not _allowed(Policy({SERVICE: "!"}, trust_services=True), SERVICE, "service")


def test_with_the_old_defaults_administrators_may_reshape() -> None:
    assert _allowed(Policy(old_defaults=True), SERVICE, "admin")


@pytest.mark.parametrize(
    ("text", "roles", "allowed"),
    [
        ("@", (), True),
        ("", (), True),
        ("!", ("admin",), False),
        ("role:a and (role:b or not role:c)", ("a", "b", "c"), True),
        ("role:a and (role:b or not role:c)", ("a", "c"), False),
        ("rule:admin_api", ("admin",), True),
        ("rule:nothing", ("admin",), False),
    ],
)
def test_what_a_check_may_be(text: str, roles: tuple[str, ...], allowed: bool) -> None:
    assert _allowed(Policy({POLICY: text}), SERVICE, *roles) is allowed


@pytest.mark.parametrize("text", ["role:a and", "(role:a", "nonsense", "role:a role:b", "tenant:%(x)s"])
def test_a_check_that_is_not_understood_is_an_error(text: str) -> None:
    with pytest.raises(Invalid, match="not understood"):
        Policy({POLICY: text})


def test_a_policy_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('# ours\n\n"placement:a": "role:x"\nplacement:b: \'@\'\n')
    assert read_overrides(file) == {"placement:a": "role:x", "placement:b": "@"}
    file.write_text("placement:a\n")
    with pytest.raises(Invalid, match="line 1"):
        read_overrides(file)


@pytest.mark.parametrize(
    ("listen", "auth", "starts"),
    [
        ("127.0.0.1", "noauth2", True),
        ("::1", "noauth2", True),
        ("0.0.0.0", "noauth2", False),
        ("placement.example.org", "noauth2", False),
        ("0.0.0.0", "tokens", True),
    ],
)
def test_callers_are_only_believed_on_a_loopback_address(listen: str, auth: str, starts: bool) -> None:
    settings = Settings(placement=PlacementSettings(listen=listen, auth=auth))  # type: ignore[arg-type]
    if starts:
        check(settings)
    else:
        with pytest.raises(Invalid, match="loopback"):
            check(settings)
