"""docker-compose.yml and the Dockerfile, as far as they can be checked without a container engine: by reading them.

That the images build and the services start is NOT tested here; these tests hold what must not get lost in an edit.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
OURS = ("api", "worker", "migrate")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_there_are_the_services_of_a_deployment(compose: dict[str, Any]):
    assert set(compose["services"]) == {"migrate", "api", "worker", "postgres"}


@pytest.mark.parametrize("service", ["api", "worker", "postgres"])
def test_every_service_that_stays_up_has_a_health_check(compose: dict[str, Any], service: str):
    check = compose["services"][service]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_the_schema_is_brought_up_to_date_once_before_anything_starts(compose: dict[str, Any]):
    services = compose["services"]
    assert services["migrate"]["command"] == ["migrate"]
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    for service in ("api", "worker"):
        assert services[service]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "KEEPWATCH_SECRET_KEY", "KEEPWATCH_ADMIN_KEY"])
def test_a_secret_has_no_default_and_its_absence_stops_compose(name: str):
    uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", (ROOT / "docker-compose.yml").read_text())
    assert uses, f"{name} is not used"
    for use in uses:
        assert use.startswith(":?"), f"${{{name}{use}}} would start without it"
        assert len(use) > 10, "the message must say what to do"


def test_no_secret_stands_in_the_file():
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"kw_[A-Za-z0-9]{8}_|whsec_[A-Za-z0-9+/]{8}", text)
    assert not re.search(r"(?i)password:\s*[a-z0-9]+\s*$", text, re.MULTILINE)


@pytest.mark.parametrize("service", OURS)
def test_our_containers_can_write_nowhere_but_to_temporary_space(compose: dict[str, Any], service: str):
    settings = compose["services"][service]
    assert settings["read_only"] is True
    assert settings["init"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in settings["security_opt"]
    assert "volumes" not in settings


@pytest.mark.parametrize("service", ["api", "worker", "postgres"])
def test_a_stopping_service_has_time_to_end_its_work(compose: dict[str, Any], service: str):
    assert int(compose["services"][service]["stop_grace_period"].removesuffix("s")) >= 30


def test_only_the_api_listens_and_only_on_loopback(compose: dict[str, Any]):
    published = {name: service.get("ports") for name, service in compose["services"].items() if service.get("ports")}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_the_database_is_on_a_volume(compose: dict[str, Any]):
    postgres = compose["services"]["postgres"]
    assert postgres["image"] == "postgres:18"
    assert postgres["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "postgres" in compose["volumes"]


def test_the_settings_in_the_file_are_settings_of_keepwatch(compose: dict[str, Any]):
    from monitor.settings import Settings

    names = {name for service in OURS for name in compose["services"][service]["environment"]}
    known = {f"KEEPWATCH_{field.upper()}" for field in Settings.model_fields}
    assert names <= known


def test_the_image_runs_as_nobody_special_and_checks_its_health_without_curl():
    text = (ROOT / "Dockerfile").read_text()
    last_stage = text[text.rindex("FROM ") :]
    assert re.search(r"^USER 10001$", last_stage, re.MULTILINE)
    assert "HEALTHCHECK" in last_stage and "urllib.request" in last_stage
    assert "curl" not in re.sub(r"#.*", "", last_stage)


def test_the_image_installs_the_locked_packages_by_hash():
    text = (ROOT / "Dockerfile").read_text()
    for line in text.splitlines():
        if "pip install" in line and "requirements/" in line:
            assert "--require-hashes" in line and "--no-deps" in line
