"""Settings: where they come from, and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from processes import flowrunner

from flowrunner.config import DEFAULT_STORE, SETTINGS, Settings, load, redacted
from flowrunner.config.variables import dotenv
from flowrunner.errors import ConfigurationError


def settings(folder, environment=None, **flags):
    return load(flags=flags, environment=environment or {}, folder=folder)


def test_table_and_settings_agree():
    """Every setting is a row, every row a setting, with a text and a default that its own reader takes."""
    assert {row.name for row in SETTINGS} | {"functions", "origins"} == {part.name for part in fields(Settings)}
    for row in SETTINGS:
        assert row.help.endswith(".")
        assert row.default is None or row.read(row.default) == row.default


def test_precedence(tmp_path):
    """Flags, environment, .env, file, default: the first that says something."""
    assert settings(tmp_path).port == 8080
    (tmp_path / "flowrunner.toml").write_text("port = 1\n")
    assert settings(tmp_path).port == 1
    (tmp_path / ".env").write_text("# comment\nexport FLOWRUNNER_PORT='2' # two\nOTHER=x\n")
    assert settings(tmp_path).port == 2
    assert settings(tmp_path, {"FLOWRUNNER_SERVER_PORT": "3"}).port == 3
    found = settings(tmp_path, {"FLOWRUNNER_PORT": "3"}, port=4)
    assert found.port == 4
    assert found.origins["port"] == "flag"
    assert settings(tmp_path, {"FLOWRUNNER_PORT": "3"}, port=None).origins["port"] == "environment FLOWRUNNER_PORT"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("ab#cd", "ab#cd"), ("#ab", "#ab"), ("ab #cd", "ab"), ("ab\t# cd # ef", "ab"), ("ab# cd", "ab# cd"), (" # ab", ""), ("", ""), ("a b # c", "a b"),
        ('"ab #cd" # ef', "ab #cd"), ("'ab#cd'#ef", "ab#cd"), ('"ab', '"ab'),
    ],
)  # fmt: skip
def test_a_hash_within_a_value_of_dotenv_is_no_comment(tmp_path, written, value):
    """Passwords have them: as in shells, a comment begins after a blank."""
    (tmp_path / ".env").write_text(f"\ufeffFIRST={written}\n SECOND = x\n")
    assert dotenv(tmp_path / ".env") == {"FIRST": value, "SECOND": "x"}


def test_a_folder_called_dotenv_is_no_file_of_settings(tmp_path):
    """Many call their virtual environment so."""
    (tmp_path / ".env").mkdir()
    assert settings(tmp_path).port == 8080


def test_paths_of_a_file_are_relative_to_it(tmp_path):
    """A configuration file can be used from anywhere."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "flowrunner.toml").write_text(
        'mock_config = "mocks.json"\nstore = "sqlite:///runs.db"\n'
        '[functions]\necho = "fn.py:echo"\nremote = "https://example.org/f"\nslow = { handler = "/abs/fn.py:slow", timeout_seconds = 3, idempotent = true }\n'
        '[aws]\nendpoint_url = "http://127.0.0.1:5000"\n[http]\nallow = ["10.0.0.0/8"]\n'
    )
    base = (tmp_path / "conf").resolve()
    found = load(config=Path("conf/flowrunner.toml"), environment={}, folder=tmp_path)
    assert found.mock_config == base / "mocks.json"
    assert found.store == f"sqlite:///{base}/runs.db"
    assert found.functions["echo"].target == f"{base}/fn.py:echo"
    assert found.functions["remote"].target == "https://example.org/f"
    assert found.functions["slow"].target == "/abs/fn.py:slow"
    assert found.functions["slow"].timeout_seconds == 3
    assert found.functions["slow"].idempotent
    assert found.aws_endpoint_url == "http://127.0.0.1:5000"
    assert found.http_allow == ("10.0.0.0/8",)
    assert load(environment={"FLOWRUNNER_CONFIG": "conf/flowrunner.toml"}, folder=tmp_path) == found


def test_pyproject_section(tmp_path):
    """[tool.flowrunner] of pyproject.toml is read when there is no flowrunner.toml."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.flowrunner]\nregion = "eu-west-1"\n')
    assert settings(tmp_path).region == "eu-west-1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "Did you mean 'port'?"),
        ("[aws]\nendpoint = 'x'", "Did you mean 'aws.endpoint_url'?"),
        ("port = 70000", "0 to 65535"),
        ("port = true", "whole number"),
        ("dev = 'perhaps'", "true or false"),
        ("limits = 'none'", "aws, open"),
        ("account = '12'", "12 digits"),
        ("store = 'mysql://x'", "store URL"),
        ("drain_seconds = -1", "above 0"),
        ("functions = 1", "table"),
        ("[functions]\nf = 1", "functions.f"),
        ("[functions]\nf = 'no-colon'", "FILE.py:FUNCTION"),
        ("[functions.f]\nhandler = 'a.py:f'\nretry = 1", "there is no setting 'retry'"),
        ("[functions.f]\nhandler = 'a.py:f'\ntimeout_seconds = 0", "above 0"),
        ("= broken", "cannot be read"),
    ],
)
def test_bad_file(tmp_path, text, said):
    """What cannot be used is named with its file, and what would do."""
    (tmp_path / "flowrunner.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path)
    assert said in str(caught.value)
    assert "flowrunner.toml" in str(caught.value)


def test_named_file_must_be_there(tmp_path):
    """--config of a file that is not there is an error."""
    with pytest.raises(ConfigurationError):
        load(config=Path("none.toml"), environment={}, folder=tmp_path)


@pytest.mark.parametrize(
    ("environment", "store"),
    [
        ({"FLOWRUNNER_STORAGE_TYPE": "memory"}, "memory:"),
        ({"FLOWRUNNER_STORAGE_TYPE": "postgres", "FLOWRUNNER_POSTGRES_PASSWORD": "p@ss", "FLOWRUNNER_POSTGRES_SSL_MODE": "require"},
         "postgresql://flowrunner:p%40ss@localhost:5432/flowrunner?sslmode=require"),
        ({"FLOWRUNNER_STORAGE_TYPE": "dynamodb", "FLOWRUNNER_DYNAMODB_ENDPOINT": "http://localhost:8000"},
         "dynamodb://us-west-2?endpoint=http%3A%2F%2Flocalhost%3A8000&prefix=flowrunner_"),
        ({"FLOWRUNNER_STORAGE_TYPE": "memory", "FLOWRUNNER_DATABASE_URL": "sqlite:///x.db"}, "sqlite:///x.db"),
        ({"FLOWRUNNER_POSTGRES_HOST": "db", "FLOWRUNNER_POSTGRES_PORT": "1"}, "postgresql://flowrunner@db:1/flowrunner"),
        ({"FLOWRUNNER_DYNAMODB_REGION": "eu-central-1"}, "dynamodb://eu-central-1?prefix=flowrunner_"),
        ({"FLOWRUNNER_STORAGE_TYPE": "sqlite", "FLOWRUNNER_POSTGRES_HOST": "db", "FLOWRUNNER_DYNAMODB_REGION": "x"}, DEFAULT_STORE),
        ({"FLOWRUNNER_POSTGRES_PORT": "tcp://10.0.0.1:5432"}, DEFAULT_STORE),
        ({"FLOWRUNNER_POSTGRES_HOST": "db", "FLOWRUNNER_STORE": "memory:"}, "memory:"),
    ],
)  # fmt: skip
def test_names_of_the_source_documents(tmp_path, environment, store):
    """The separate variables make one URL; a URL of its own wins."""
    assert settings(tmp_path, environment).store == store


def test_parts_of_two_stores_are_refused(tmp_path):
    """Only the kind can tell which of the two is meant."""
    with pytest.raises(ConfigurationError) as refused:
        settings(tmp_path, {"FLOWRUNNER_POSTGRES_HOST": "db", "FLOWRUNNER_DYNAMODB_REGION": "eu-central-1"})
    assert str(refused.value).startswith("FLOWRUNNER_POSTGRES_HOST and FLOWRUNNER_DYNAMODB_REGION are set")
    assert refused.value.remedy == "Set FLOWRUNNER_STORAGE_TYPE to postgres or dynamodb."


def test_parts_of_the_store_in_two_places(tmp_path):
    """The environment adds what .env leaves out and wins over it; a URL in .env wins over parts, unless the environment says the kind."""
    (tmp_path / "password").write_text("of the file")
    (tmp_path / "password").chmod(0o600)
    written = f"FLOWRUNNER_STORAGE_TYPE=postgres\nFLOWRUNNER_POSTGRES_HOST=db\nFLOWRUNNER_POSTGRES_PASSWORD_FILE={tmp_path / 'password'}\n"
    (tmp_path / ".env").write_text(written)
    found = settings(tmp_path, {"FLOWRUNNER_POSTGRES_PASSWORD": "pw", "FLOWRUNNER_POSTGRES_HOST": "other"})
    assert found.store == "postgresql://flowrunner:pw@other:5432/flowrunner"
    (tmp_path / ".env").write_text("FLOWRUNNER_STORE=memory:\n")
    assert settings(tmp_path, {"FLOWRUNNER_POSTGRES_PASSWORD": "pw"}).store == "memory:"
    assert settings(tmp_path, {"FLOWRUNNER_STORAGE_TYPE": "postgres"}).store == "postgresql://flowrunner@localhost:5432/flowrunner"
    (tmp_path / ".env").write_text("FLOWRUNNER_POSTGRES_HOST=db\n")
    found = settings(tmp_path)
    assert (found.store, found.origins["store"]) == ("postgresql://flowrunner@db:5432/flowrunner", ".env FLOWRUNNER_POSTGRES_HOST")


BOTH = {"FLOWRUNNER_DYNAMODB_REGION": "r", "FLOWRUNNER_POSTGRES_HOST": "h"}


@pytest.mark.parametrize(
    ("environment", "store"),
    [
        ({"FLOWRUNNER_STORE": "memory:"}, "memory:"),
        ({"FLOWRUNNER_DATABASE_URL": "sqlite:///b.db"}, "sqlite:///b.db"),
        ({"FLOWRUNNER_STORAGE_TYPE": "postgres"}, "postgresql://flowrunner@h:5432/flowrunner"),
        ({"FLOWRUNNER_STORAGE_TYPE": "dynamodb"}, "dynamodb://r?prefix=flowrunner_"),
    ],
)
def test_parts_of_other_stores_do_not_matter_to_a_named_one(tmp_path, environment, store):
    """A URL or the kind tells the store, wherever the parts are written."""
    assert settings(tmp_path, BOTH | environment).store == store
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in BOTH.items()))
    assert settings(tmp_path, environment).store == store


def test_parts_of_stores_do_not_matter_to_flags_and_clients(tmp_path):
    """A store in a flag wins before the parts are looked at; what talks to a server needs no store."""
    assert settings(tmp_path, BOTH, store="memory:").store == "memory:"
    assert settings(tmp_path, BOTH, server="http://127.0.0.1:1").server == "http://127.0.0.1:1"
    assert settings(tmp_path, BOTH, server=None).server is None
    with pytest.raises(ConfigurationError):
        settings(tmp_path, BOTH, store=None)


def test_commands_that_need_no_store_of_the_settings(tmp_path):
    """`run` has a store of its own; `ls` gets as far as the server that is not there."""
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in BOTH.items()))
    (tmp_path / "one.asl.json").write_text('{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}')
    ran = flowrunner("run", "one.asl.json", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    asked = flowrunner("ls", "--server", "http://127.0.0.1:9", folder=tmp_path)
    assert "one store" not in asked.stderr
    assert "127.0.0.1:9" in asked.stderr
    shown = flowrunner("config", "show", folder=tmp_path)
    assert shown.returncode == 2
    assert "one store" in shown.stderr


def test_a_password_completes_the_store_of_the_file(tmp_path):
    """The obvious way to keep the password out of flowrunner.toml: host, role and database stay those of the file."""
    (tmp_path / "flowrunner.toml").write_text('store = "postgresql://u@dbhost/d?schema=s"\n')
    found = settings(tmp_path, {"FLOWRUNNER_POSTGRES_PASSWORD": "p@ss"})
    assert (found.store, found.origins["store"]) == ("postgresql://u:p%40ss@dbhost/d?schema=s", "environment FLOWRUNNER_POSTGRES_PASSWORD")
    (tmp_path / "password").write_text("of a file\n")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / ".env").write_text(f"FLOWRUNNER_POSTGRES_PASSWORD_FILE={tmp_path / 'password'}\n")
    assert settings(tmp_path).store == "postgresql://u:of%20a%20file@dbhost/d?schema=s"
    assert settings(tmp_path, {"FLOWRUNNER_POSTGRES_HOST": "other"}).store == "postgresql://flowrunner:of%20a%20file@other:5432/flowrunner"


@pytest.mark.parametrize("file", ["postgresql://u:p@dbhost/d", "postgresql://dbhost/d", "sqlite:///file.db", "memory:", None])
@pytest.mark.parametrize("part", ["PASSWORD", "PORT", "USER", "SSL_MODE"])
def test_a_detail_means_no_store(tmp_path, file, part):
    """It never replaces the store that the file names, nor leads to an empty one: it is refused, without its value."""
    if file is not None:
        (tmp_path / "flowrunner.toml").write_text(f'store = "{file}"\n')
    with pytest.raises(ConfigurationError, match=f"^FLOWRUNNER_POSTGRES_{part} is set, but ") as refused:
        settings(tmp_path, {f"FLOWRUNNER_POSTGRES_{part}": "98765"})
    assert refused.value.remedy.startswith("Set FLOWRUNNER_POSTGRES_HOST or FLOWRUNNER_STORAGE_TYPE as well")
    assert "98765" not in str(refused.value) + refused.value.remedy


def test_a_port_is_not_added_to_the_url_of_the_file(tmp_path):
    """Two ports of one store: nobody can tell which is meant."""
    (tmp_path / "flowrunner.toml").write_text('store = "postgresql://u@dbhost/d"\n')
    with pytest.raises(ConfigurationError, match="cannot be added to"):
        settings(tmp_path, {"FLOWRUNNER_POSTGRES_PORT": "5432", "FLOWRUNNER_POSTGRES_PASSWORD": "p"})


def test_kubernetes_port_variable_is_not_a_port(tmp_path):
    """A service called flowrunner puts its address into every pod's environment."""
    assert settings(tmp_path, {"FLOWRUNNER_PORT": "tcp://10.0.0.1:8080"}).port == 8080
    service = {"FLOWRUNNER_SERVICE_HOST": "10.0.0.1", "FLOWRUNNER_SERVICE_PORT": "8081", "FLOWRUNNER_SERVICE_PORT_HTTP": "8081"}
    assert settings(tmp_path, service) == settings(tmp_path)


def test_password_is_not_shown(tmp_path):
    """Neither the settings' text nor what people are shown has it."""
    url = "postgresql://u:hunter2@h:5432/d"
    found = settings(tmp_path, {"FLOWRUNNER_STORE": url})
    assert "hunter2" not in repr(found)
    assert redacted(url) == "postgresql://u:***@h:5432/d"
    assert redacted("memory:") == "memory:"
    assert redacted("postgresql://u@h/d") == "postgresql://u@h/d"
    assert redacted("https://token@h:1/p?q=1") == "https://***@h:1/p?q=1"
    assert redacted("https://h/a@b") == "https://h/a@b"


SECRETS = [row for row in SETTINGS if row.secret]


@pytest.mark.parametrize("row", [row for row in SECRETS if row.name not in {"store", "previous_master_keys"}], ids=lambda row: row.name)
def test_a_secret_may_be_in_a_file(tmp_path, row):
    """NAME_FILE names a file with the value in its first line; only its owner may read it; both at once are refused."""
    variable = row.variables[0]
    if f"{variable}_FILE" == "FLOWRUNNER_MASTER_KEY_FILE":
        assert settings(tmp_path, {f"{variable}_FILE": "there"}).master_key_file == Path("there")
        return
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    assert getattr(settings(tmp_path, {f"{variable}_FILE": str(file)}), row.name) == "s3cret"
    with pytest.raises(ConfigurationError, match="both set"):
        settings(tmp_path, {f"{variable}_FILE": str(file), variable: "x"})
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        settings(tmp_path, {f"{variable}_FILE": str(file)})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        settings(tmp_path, {f"{variable}_FILE": str(tmp_path / "absent")})
    file.chmod(0o600)
    for text in ("", "\n", " \ns3cret\n"):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=f"{variable}_FILE: the first line of .* is empty"):
            settings(tmp_path, {f"{variable}_FILE": str(file)})


def test_the_password_of_the_parts_may_be_in_a_file(tmp_path):
    """FLOWRUNNER_POSTGRES_PASSWORD_FILE."""
    file = tmp_path / "password"
    file.write_text("p@ss")
    file.chmod(0o600)
    found = settings(tmp_path, {"FLOWRUNNER_STORAGE_TYPE": "postgres", "FLOWRUNNER_POSTGRES_PASSWORD_FILE": str(file)})
    assert found.store == "postgresql://flowrunner:p%40ss@localhost:5432/flowrunner"


def test_variables_that_are_misspelt(tmp_path):
    """What is almost a setting is refused with what was meant; what belongs to something else is left alone."""
    with pytest.raises(ConfigurationError) as refused:
        settings(tmp_path, {"FLOWRUNNER_STOER": "memory:"})
    assert refused.value.remedy == "Did you mean FLOWRUNNER_STORE?"
    settings(tmp_path, {"FLOWRUNNER_PORT_8080_TCP_ADDR": "10.0.0.1", "FLOWRUNNER_SOMETHING_ELSE": "1"})


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("FLOWRUNNER_AUTH_JWT_SECRET", "FLOWRUNNER_JWT_SECRET"),
        ("FLOWRUNNER_AUTH_JWT_SECRET_FILE", "FLOWRUNNER_JWT_SECRET_FILE"),
        ("FLOWRUNNER_AUTH__JWT_SECRET", "FLOWRUNNER_JWT_SECRET"),
        ("FLOWRUNNER_AUTH_JWT_ISSUER", "FLOWRUNNER_JWT_ISSUER"),
        ("FLOWRUNNER_SERVER_TLS_CERT_FILE", "FLOWRUNNER_TLS_CERT_FILE"),
        ("FLOWRUNNER_SERVER__TLS__KEY_FILE", "FLOWRUNNER_TLS_KEY_FILE"),
        ("FLOWRUNNER_FUNCTION_POOL_WORKERS", "FLOWRUNNER_FUNCTION_WORKERS"),
        ("FLOWRUNNER_LOG__LEVEL", "FLOWRUNNER_LOG_LEVEL"),
    ],
)
def test_keys_of_the_file_as_variables(tmp_path, variable, meant):
    """Who writes the key of the file as a variable is told the variable, instead of being ignored."""
    with pytest.raises(ConfigurationError) as refused:
        settings(tmp_path, {variable: "topsecret"})
    assert refused.value.remedy == f"Did you mean {meant}?"
    assert "topsecret" not in str(refused.value)


def test_no_key_of_the_file_is_ignored_as_a_variable(tmp_path):
    """Every setting: the name made of its key is either its variable or refused."""
    for row in SETTINGS:
        variable = f"FLOWRUNNER_{row.file_key.replace('.', '_').upper()}"
        if variable not in row.variables:
            with pytest.raises(ConfigurationError, match="is no setting"):
                settings(tmp_path, {variable: "1"})


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86400), ("1h30m", 5400), ("250ms", 0.25), ("90", 90), (90, 90)])
def test_durations(tmp_path, text, seconds):
    """Numbers of seconds, or with units."""
    assert settings(tmp_path, {"FLOWRUNNER_TOKEN_EXPIRATION": str(text)}).token_expiration == seconds


@pytest.mark.parametrize("text", ["", "h", "1x", "-1", "0", "1 h", "1e400"])
def test_no_durations(tmp_path, text):
    """The rest is refused, but for nothing, which is not set."""
    if not text:
        assert settings(tmp_path, {"FLOWRUNNER_TOKEN_EXPIRATION": text}).token_expiration == 86400
        return
    with pytest.raises(ConfigurationError, match="token_expiration must be"):
        settings(tmp_path, {"FLOWRUNNER_TOKEN_EXPIRATION": text})


def test_config_show_masks_secrets(tmp_path):
    """No secret in any form, and each value with where it comes from."""
    (tmp_path / "flowrunner.toml").write_text(
        'port = 9\nmaster_key = "topsecret1"\nserver = "https://u:topsecret4@h"\n[auth]\njwt_secret = "topsecret2"\n'
        '[aws]\nendpoint_url = "https://AKIA:topsecret5@h"\n[functions]\nf = "https://topsecret6@h/x"\n'
    )
    (tmp_path / ".env").write_text("FLOWRUNNER_STORE=postgresql://u:topsecret3@h/d\n")
    for form in ("table", "json", "yaml", "jsonl"):
        shown = flowrunner("config", "show", "--origin", "--output", form, folder=tmp_path)
        assert shown.returncode == 0
        assert "topsecret" not in shown.stdout + shown.stderr
    rows = {row["key"]: row for row in json.loads(flowrunner("config", "show", "--json", folder=tmp_path).stdout)}
    assert rows["port"] == {"key": "port", "value": 9, "origin": str(tmp_path / "flowrunner.toml")}
    assert rows["store"] == {"key": "store", "value": "postgresql://u:***@h/d", "origin": ".env FLOWRUNNER_STORE"}
    assert rows["master_key"]["value"] == rows["auth.jwt_secret"]["value"] == "***"
    assert rows["host"]["origin"] == "default"


def test_config_check(tmp_path):
    """Settings that can be used, and such that cannot."""
    assert flowrunner("config", "check", folder=tmp_path).returncode == 0
    (tmp_path / "flowrunner.toml").write_text("prot = 9\n")
    refused = flowrunner("config", "check", folder=tmp_path)
    assert refused.returncode == 2
    assert "Did you mean 'port'?" in refused.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('host = "0.0.0.0"', "in the clear"), ("socket_pong_seconds = 5", "longer than a ping"), ('[auth]\njwt_secret = "short"', "32 random bytes"),
        ('master_key = "short"', "is not 32 bytes"), ('[server.tls]\ncert_file = "a.crt"\nkey_file = "a.key"', "There is no file"),
        ('[http]\nallow = ["a b"]', "a b"),
    ],
)  # fmt: skip
def test_config_check_says_what_the_server_would(tmp_path, text, said):
    """What a start would be refused for is found before it, and in the same words; nothing is made."""
    (tmp_path / "flowrunner.toml").write_text(text)
    checked = flowrunner("config", "check", folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["flowrunner.toml"]
    started = flowrunner("serve", folder=tmp_path)
    assert (checked.returncode, checked.stderr) == (started.returncode, started.stderr) == (2, started.stderr)
    assert said in checked.stderr
