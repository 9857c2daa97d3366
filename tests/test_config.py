"""The settings: their defaults, their documentation, and what is said of wrong ones."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.config import Config, Section, decode, load
from noinfra.errors import ConfigurationError

ETC = Path(__file__).parent.parent / "etc" / "noinfra.toml"

# A line of the file that holds a setting; prose has a blank after its "#".
COMMENTED = re.compile(r"^#(?=[a-z0-9_]+ = )", re.MULTILINE)


def leaves(section: type[Section], prefix: str = "") -> dict[str, object]:
    """Every setting by its full name, with what msgspec knows of it."""
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(section):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            found |= leaves(field.type, f"{field.name}.")
        else:
            found[prefix + field.name] = field
    return found


def flat(document: dict[str, Any], prefix: str = "") -> dict[str, object]:
    """Every setting of a document by its full name; a route is a setting's value."""
    found: dict[str, object] = {}
    for name, value in document.items():
        if isinstance(value, dict) and prefix + name != "outbound.routes":
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


class DocumentedTests(SynchronousTestCase):
    """`etc/noinfra.toml` against `Config`, both ways."""

    def setUp(self) -> None:
        self.documented = flat(tomllib.loads(COMMENTED.sub("", ETC.read_text())))

    def test_everything_is_documented(self) -> None:
        """The file holds every setting, and no other."""
        self.assertEqual(sorted(self.documented), sorted(leaves(Config)))

    def test_defaults(self) -> None:
        """A setting that has a default is documented with that default."""
        defaults = flat(msgspec.to_builtins(Config()))
        for name, value in defaults.items():
            if value is not None:
                self.assertEqual(self.documented[name], value, name)

    def test_examples(self) -> None:
        """What is shown for settings that have no default would be accepted."""
        document = tomllib.loads(COMMENTED.sub("", ETC.read_text()))
        self.assertEqual(decode(document, "it").tls.key, self.documented["tls.key"])

    def test_all_commented_out(self) -> None:
        """As it stands, the file changes nothing but where relative paths count from."""
        as_is = msgspec.structs.replace(load(ETC), state="var")
        self.assertEqual(as_is, Config())

    def test_explained(self) -> None:
        """Every setting, or the group it stands in, follows a comment."""
        above = ""
        for line in ETC.read_text().splitlines():
            if COMMENTED.match(line):
                self.assertTrue(above.startswith("#"), line)
            above = line


class DecodeTests(SynchronousTestCase):
    """Documents that cannot work, and what the operator reads then."""

    def said(self, document: dict[str, Any]) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            decode(document, "noinfra.toml")
        return str(caught.exception)

    def test_unknown(self) -> None:
        """A setting that is not known is an error that names it."""
        text = self.said({"edge": {"prot": 25}})
        self.assertIn("noinfra.toml: setting edge", text)
        self.assertIn("prot", text)
        self.assertIn("colour", self.said({"colour": "red"}))
        self.assertEqual(len(self.said({"edge": {"a\nb": 25}}).splitlines()), 1)

    def test_type(self) -> None:
        """A value of the wrong type is an error that names the setting."""
        self.assertIn("setting web.port: ", self.said({"web": {"port": "http"}}))
        self.assertIn("setting web.port: ", self.said({"web": {"port": True}}))

    def test_range(self) -> None:
        """A number that cannot be is an error that names the setting."""
        self.assertIn("setting edge.port: ", self.said({"edge": {"port": 65536}}))
        text = self.said({"database": {"connections": 0}})
        self.assertIn("setting database.connections: ", text)
        self.assertIn("setting dns.timeout: ", self.said({"dns": {"timeout": 0}}))

    def test_domains(self) -> None:
        """The domain and the hostname are domain names in their canonical form."""
        self.assertIn("setting domain: ", self.said({"domain": "not a domain"}))
        self.assertIn("agents.example", self.said({"domain": "Agents.example"}))
        self.assertIn(
            "xn--bcher-kva.example", self.said({"hostname": "bücher.example"})
        )
        self.assertIn("setting domain: ", self.said({"domain": ""}))

    def test_certificate_and_key(self) -> None:
        """A certificate without its key is an error."""
        self.assertIn("tls.key", self.said({"tls": {"certificate": "a.pem"}}))

    def test_no_role(self) -> None:
        """A process that does nothing is an error."""
        self.assertIn("setting roles", self.said({"roles": []}))
        self.assertIn("setting roles", self.said({"roles": ["pop"]}))

    @settings(deadline=None, max_examples=300)
    @given(
        st.dictionaries(
            st.sampled_from([*Config.__struct_fields__, "other"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(st.text(max_size=9), inner, max_size=3)
                ),
                max_leaves=5,
            ),
        )
    )
    def test_anything(self, document: dict[str, Any]) -> None:
        """Whatever a document holds, it is settings, or an error of one line."""
        try:
            decode(document, "it")
        except ConfigurationError as error:
            self.assertEqual(len(str(error).splitlines()), 1)


class LoadTests(SynchronousTestCase):
    """Files of settings."""

    def file(self, text: str | bytes) -> Path:
        path = Path(self.mktemp()).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def test_none(self) -> None:
        """No file means the defaults."""
        self.assertEqual(load(None), Config())

    def test_relative_state(self) -> None:
        """A relative state directory counts from the file that names it."""
        path = self.file('state = "here"')
        self.assertEqual(load(path).state_path, path.parent / "here")

    def test_state_overrides(self) -> None:
        """A state directory that the caller names goes before the file's."""
        path = self.file('state = "here"')
        self.assertEqual(load(path, Path("/there")).state_path, Path("/there"))

    def test_missing(self) -> None:
        """A file that is not there is named."""
        with self.assertRaisesRegex(ConfigurationError, r"/no/such cannot be read"):
            load(Path("/no/such"))

    def test_not_toml(self) -> None:
        """A file that is not TOML, or no text at all, is named."""
        for text in ("port == 25", b"\xff\xfe"):
            with self.assertRaisesRegex(ConfigurationError, "is not TOML"):
                load(self.file(text))
