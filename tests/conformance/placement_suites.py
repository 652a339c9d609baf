"""Runs the suites that ship inside the ``openstack-placement`` package against a live endpoint, and prints as JSON
what became of each test: by file, for each test its name and ``passed``, ``skipped`` or why it failed.

It runs in the environment of that package, not in ours. The suites and the fixtures that make their data are the
package's own; only where a fixture would put something into a database, it is put there over the API instead.

``python placement_suites.py URL [PROFILE …]``: by default the suites for the default policy.
"""

import copy
import io
import json
import logging
import sys
import unittest
import urllib.error
import urllib.request
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import gabbi.handlers
import gabbi.suitemaker
import gabbi.utils
from oslo_utils import uuidutils
from oslo_utils.fixture import uuidsentinel
from placement.tests.functional.fixtures import gabbits as fixtures

SUITES = Path(fixtures.__file__).parents[1] / "gabbits"
PROFILES = {
    "SecureRBACPolicyFixture": "secure-rbac",
    "LegacyRBACPolicyFixture": "legacy-rbac",
    "OpenPolicyFixture": "open-policy",
    "CORSFixture": "cors",
}
"""What a suite needs of the endpoint, by the fixture that it names; every other one is for the default policy."""
UNSENDABLE = {"bad content length not int"}
"""A client cannot send what these tests want sent."""
ADMIN = {"x-auth-token": "admin", "x-roles": "admin,service"}
"""Reshaping is for services: administrators alone may not."""


class Endpoint:
    """The API, as the fixtures use it."""

    def __init__(self, url):
        self.url = url

    def call(self, method, path, body=None, version="1.39", harmless=()):
        """The decoded answer; an error raises, unless its status is ``harmless``."""
        headers = {**ADMIN, "openstack-api-version": f"placement {version}", "accept": "application/json"}
        data = None
        if body is not None:
            headers["content-type"] = "application/json"
            data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                raw = answer.read()
        except urllib.error.HTTPError as error:
            if error.code in harmless:
                return None
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:300]}") from None
        return json.loads(raw) if raw else None

    def empty(self):
        """Remove everything that a suite before has left."""
        providers = [one["uuid"] for one in self.call("GET", "/resource_providers")["resource_providers"]]
        for provider in providers:
            for consumer in self.call("GET", f"/resource_providers/{provider}/allocations")["allocations"]:
                self.call("DELETE", f"/allocations/{consumer}", harmless=(404,))
        while providers:
            # Parents can only go after their children.
            for provider in providers:
                self.call("DELETE", f"/resource_providers/{provider}", harmless=(409,))
            providers = [one["uuid"] for one in self.call("GET", "/resource_providers")["resource_providers"]]
        for name in self.call("GET", "/traits?name=startswith:CUSTOM_")["traits"]:
            self.call("DELETE", f"/traits/{name}")
        for known in self.call("GET", "/resource_classes")["resource_classes"]:
            if known["name"].startswith("CUSTOM_"):
                self.call("DELETE", f"/resource_classes/{known['name']}")


class Maker:
    """Stands where the fixtures reach for the database."""

    def __init__(self, endpoint):
        self._endpoint = endpoint

    def create_provider(self, _context, name, *aggregates, uuid=None, parent=None, **_):
        uuid = uuid or getattr(uuidsentinel, name)
        body = {"name": name, "uuid": uuid} | ({"parent_provider_uuid": parent} if parent else {})
        self._endpoint.call("POST", "/resource_providers", body)

        def set_aggregates(wanted):
            # Below 1.19 the generation stays, as it does for the database.
            self._endpoint.call("PUT", f"/resource_providers/{uuid}/aggregates", list(wanted), version="1.18")

        if aggregates:
            set_aggregates(aggregates)
        return SimpleNamespace(uuid=uuid, name=name, set_aggregates=set_aggregates)

    def _generation(self, provider):
        return self._endpoint.call("GET", f"/resource_providers/{provider.uuid}")["generation"]

    def ensure_rc(self, _context, name):
        if name.startswith("CUSTOM_"):
            self._endpoint.call("PUT", f"/resource_classes/{name}")

    def add_inventory(self, provider, resource_class, total, **more):
        self.ensure_rc(None, resource_class)
        body = {"max_unit": total, **more, "resource_class": resource_class, "total": total}
        self._endpoint.call("POST", f"/resource_providers/{provider.uuid}/inventories", body)

    def set_traits(self, provider, *traits):
        for name in traits:
            if name.startswith("CUSTOM_"):
                self._endpoint.call("PUT", f"/traits/{name}")
        body = {"traits": traits, "resource_provider_generation": self._generation(provider)}
        self._endpoint.call("PUT", f"/resource_providers/{provider.uuid}/traits", body)

    def ensure_consumer(self, _context, user, project, consumer_id=None):
        return SimpleNamespace(uuid=consumer_id or uuidutils.generate_uuid(), user=user, project=project)

    def set_allocation(self, _context, provider, consumer, resources):
        # 1.27 asks for no consumer generation.
        body = {
            "allocations": {provider.uuid: {"resources": resources}},
            "user_id": consumer.user.external_id,
            "project_id": consumer.project.external_id,
        }
        self._endpoint.call("PUT", f"/allocations/{consumer.uuid}", body, version="1.27")

    def create_user_and_project(self, _context, prefix="fake"):
        return external(external_id=f"{prefix}-user"), external(external_id=f"{prefix}-project")


def external(_context=None, external_id=None, **_):
    """A user or project: it comes to be with its first allocation."""
    return SimpleNamespace(external_id=external_id, create=lambda: None)


def install(endpoint):
    """Put the maker where the fixtures look for the database's helpers."""
    maker = Maker(endpoint)

    def resource_class(_context=None, name=None, **_):
        return SimpleNamespace(name=name, create=lambda: maker.ensure_rc(None, name))

    fixtures.tb = maker
    fixtures.user_obj = SimpleNamespace(User=external)
    fixtures.project_obj = SimpleNamespace(Project=external)
    fixtures.rc_obj = SimpleNamespace(ResourceClass=resource_class)


class Outcome(unittest.TestResult):
    """What became of each test."""

    def __init__(self):
        super().__init__()
        self.tests = []

    def _note(self, test, outcome):
        self.tests.append((getattr(test, "test_data", {}).get("name") or str(test), outcome))

    def addSuccess(self, test):
        self._note(test, "passed")

    def addSkip(self, test, reason):
        self._note(test, "skipped")

    def addExpectedFailure(self, test, err):
        self._note(test, "skipped")

    def addUnexpectedSuccess(self, test):
        self._note(test, "passed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, self.failures[-1][1][-600:])

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, self.errors[-1][1][-600:])


def with_roles(headers):
    """Whoever has the administrator's token there has both roles here; anybody else must not inherit them."""
    if headers and "x-auth-token" in headers:
        is_admin = str(headers["x-auth-token"]).split(":")[0] == "admin"
        headers.setdefault("x-roles", ADMIN["x-roles"] if is_admin else "")


def run(endpoint, file, wanted):
    """The outcome of one suite; None if it is not for this endpoint."""
    suite = gabbi.utils.load_yaml(yaml_file=str(file))
    profile = next((PROFILES[name] for name in suite.get("fixtures", []) if name in PROFILES), "default")
    if profile not in wanted:
        return None
    # Anchors of YAML share what is about to be changed.
    suite = {
        key: [copy.deepcopy(test) for test in value] if key == "tests" else value for key, value in suite.items()
    }
    with_roles((suite.get("defaults") or {}).get("request_headers"))
    for test in suite["tests"]:
        if profile == "default":
            with_roles(test.get("request_headers"))
        if test.get("name") in UNSENDABLE:
            test["skip"] = "cannot be sent"
    endpoint.empty()
    host, port, prefix, _ = gabbi.utils.host_info_from_target(endpoint.url)
    made = gabbi.suitemaker.test_suite_from_dict(
        unittest.defaultTestLoader,
        f"live_{file.stem.replace('_', '-')}",
        suite,
        str(SUITES),
        host,
        port,
        fixtures,
        None,
        prefix=prefix,
        handlers=[handler() for handler in gabbi.handlers.RESPONSE_HANDLERS],
    )
    outcome = Outcome()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        made.run(outcome)
    return outcome.tests


def main():
    """Run all, print the outcomes."""
    logging.disable(logging.CRITICAL)
    endpoint, wanted = Endpoint(sys.argv[1]), sys.argv[2:] or ["default", "secure-rbac"]
    install(endpoint)
    outcomes = {file.name: run(endpoint, file, wanted) for file in sorted(SUITES.glob("*.yaml"))}
    json.dump({name: tests for name, tests in outcomes.items() if tests is not None}, sys.stdout)


if __name__ == "__main__":
    main()
