"""The settings shown by the admin API: all of them, with their origin, and without secrets."""

from pathlib import Path

from balancer.config.catalogue import SETTINGS
from balancer.config.effective import as_yaml, effective
from balancer.config.export import export
from balancer.config.loader import load, load_with_origins
from balancer.config.types import MASK

ENVIRON = {
    "BALANCER_UPSTREAMS": "a:1,[::1]:2?weight=3",
    "BALANCER_HEALTH_CHECK__HEADERS": '{"Host": "app.example", "Authorization": "Bearer s3cret"}',
    "BALANCER_TIMEOUTS__CONNECT": "250ms",
}


def test_every_setting_is_shown_as_a_file_spells_it_with_its_origin() -> None:
    exported = export(load_with_origins(ENVIRON))
    assert exported.settings["upstreams"] == ["a:1", "[::1]:2?weight=3"]
    assert exported.settings["timeouts"]["connect"] == "250ms"
    assert exported.origins["timeouts.connect"] == "environment"
    assert exported.origins["timeouts.idle"] == "default"
    assert len(exported.origins) == len(SETTINGS) - 1  # `config` itself is not part of a file


def test_header_values_that_may_be_secrets_are_masked() -> None:
    exported = export(load_with_origins(ENVIRON))
    assert exported.settings["health_check"]["headers"] == {"Host": "app.example", "Authorization": MASK}
    assert "s3cret" not in exported.yaml
    assert "s3cret" not in repr(exported)


def test_the_query_of_the_checks_path_is_masked() -> None:
    exported = export(load_with_origins({**ENVIRON, "BALANCER_HEALTH_CHECK__PATH": "/up?token=s3cret"}))
    assert exported.settings["health_check"]["path"] == f"/up?{MASK}"
    assert "s3cret" not in exported.yaml


def test_the_secret_of_sticky_sessions_is_masked() -> None:
    loaded = load_with_origins(
        {
            "BALANCER_UPSTREAMS": "a:1",
            "BALANCER_STICKY__ENABLED": "true",
            "BALANCER_STICKY__SECRET": "s3cret",
        }
    )
    assert export(loaded).settings["sticky"]["secret"] == MASK
    shown = [export(loaded).yaml, as_yaml(loaded.settings), repr(loaded), repr(effective(loaded))]
    assert not any("s3cret" in each for each in shown)


def test_the_file_gives_the_same_settings_again(tmp_path: Path) -> None:
    environ = {name: value for name, value in ENVIRON.items() if "HEADERS" not in name}
    file = tmp_path / "exported.yaml"
    file.write_text(export(load_with_origins(environ)).yaml)
    assert load({}, str(file)) == load(environ).model_copy(update={"config": str(file)})
