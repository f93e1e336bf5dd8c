"""What a release may be called, and what it says."""

import unittest

from release_notes import Refused, notes

CHANGELOG = """\
# Changelog

## 0.3.0 (unreleased)

- Coming.

## 0.2.0 (2026-11-30)

- New.

### Stored format

- The same.

## 0.1.0 (2026-10-01)

## 0.0.1 (2026-09-01)

- The first.
"""


class ReleaseNotes(unittest.TestCase):
    def test_a_release_has_the_text_of_its_version_alone(self):
        text = "- New.\n\n### Stored format\n\n- The same."
        self.assertEqual(notes(CHANGELOG, "0.2.0", "v0.2.0"), text)
        self.assertEqual(notes(CHANGELOG, "0.0.1", "v0.0.1"), "- The first.")

    def test_what_is_not_released_yet_has_a_text(self):
        self.assertEqual(notes(CHANGELOG, "0.3.0", None), "- Coming.")

    def test_a_release_is_refused(self):
        for why, version, tag in [
            ("another version's tag", "0.2.0", "v0.2.1"),
            ("no v", "0.2.0", "0.2.0"),
            ("no date", "0.3.0", "v0.3.0"),
            ("no text", "0.1.0", "v0.1.0"),
            ("no section", "0.2", "v0.2"),
        ]:
            with self.subTest(why), self.assertRaises(Refused):
                notes(CHANGELOG, version, tag)


if __name__ == "__main__":
    unittest.main()
