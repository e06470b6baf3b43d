import unicodedata

import pytest

from sega_utils.data import classes


@pytest.fixture
def tree(tmp_path):
    """Return a folder with three class folders."""
    for name in ("ash_tree", "beech", "0"):
        (tmp_path / name).mkdir()
    return tmp_path


def read(root):
    return classes.read(root, sorted(path.name for path in root.iterdir() if path.is_dir()))


def test_classes_yaml_names_and_describes(tree):
    text = "domain: a leaf\nmirror: false\nclasses:\n  0: {name: no leaf, description: an empty page}\n"
    text += "  beech: copper beech\n"
    (tree / "classes.yaml").write_text(text)
    domain, names, descriptions, mirrors = read(tree)
    assert (domain, descriptions, mirrors) == ("a leaf", {"no leaf": "an empty page"}, False)
    assert list(names.items()) == [("0", "no leaf"), ("ash_tree", "ash tree"), ("beech", "copper beech")]


def test_without_classes_yaml_the_folders_name_the_classes(tree):
    assert read(tree) == (classes.DOMAIN, {"0": "0", "ash_tree": "ash tree", "beech": "beech"}, {}, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: {oak: oak}", "names oak; the class folders are 0, ash_tree, beech"),
        ("classes: {beech: 'ash tree'}", "two classes one name"),
        ("classes: [a", "cannot be used"),
        ("- a", "cannot be used"),
        ("classes: [beech]", "cannot be used"),
        ("names: {}", r"cannot be used \(names\)"),
        ("classes: {beech: {nmae: x}}", r"cannot be used \(nmae\); allowed are 'domain: TEXT'"),
        ("classes: {beech: [x, y]}", "cannot be used"),
        ("domain: [x]", "cannot be used"),
        ("mirror: perhaps", "cannot be used"),
        ("classes: {beech: {name: {a: b}}}", "cannot be used"),
        ("classes: {beech: elm, beech: oak}", "cannot be used .'beech' stands there twice"),
        ("domain: a leaf\ndomain: a tree", "cannot be used .'domain' stands there twice"),
        ("[" * 1000, "cannot be used"),
        ("domain: ''", "text of domain cannot be used; allowed are 1 .. 300 characters"),
        (f"domain: {'x' * 10**5}", "text of domain cannot be used"),
        ('domain: "a\\tb"', "text of domain cannot be used"),
        ('classes: {beech: {description: "a\\nb"}}', "text of beech cannot be used"),
    ],
)
def test_another_classes_yaml_is_refused(tree, text, message):
    (tree / "classes.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read(tree)


def test_a_tag_in_classes_yaml_makes_nothing(tree):
    (tree / "classes.yaml").write_text("domain: !!python/object/apply:os.getcwd []\nclasses: !!set {}")
    with pytest.raises(ValueError, match="cannot be used"):
        read(tree)


def test_latin_1_is_told_to_be_no_utf_8(tree):
    (tree / "classes.yaml").write_bytes("classes: {beech: h\xeatre}".encode("latin-1"))
    with pytest.raises(ValueError, match="classes.yaml cannot be used .it is no UTF-8: save it as that"):
        read(tree)


@pytest.mark.parametrize("name", ["classes.yml", "Classes.yaml", "CLASSES.YML"])
def test_classes_yaml_is_found_however_it_is_spelt(tree, name):
    (tree / name).write_text("\ufeffmirror: false", encoding="utf-8")
    assert not read(tree).mirrors
    (tree / "classes.yaml.orig").touch()
    assert classes.described(tree).name == name


def test_two_of_them_and_one_that_is_no_file_are_refused(tree):
    (tree / "classes.yaml").symlink_to("nowhere")
    with pytest.raises(ValueError, match="classes.yaml is no file, or a link that leads nowhere"):
        read(tree)
    (tree / "classes.yml").touch()
    with pytest.raises(ValueError, match="holds classes.yaml and classes.yml; keep one, named classes.yaml"):
        read(tree)


# names


@pytest.mark.parametrize(
    "name",
    [
        "\N{ANT}",
        "ant \N{ANT}",
        "x" * 80,
        "ants ",
        " ants",
        "an\tts",
        "an\u200dts",
        "<b>ants",
        "ants & bees",
        '"ants"',
        "$\\alpha$",
        "a^2",
        "{ants}",
        "=1+1",
        "-ants",
        "@ants",
        "a|b",
        "",
        "_",
        "caf\udce9",
    ],
)
def test_a_name_that_a_later_stage_refuses_or_misreads_is_refused_here(tree, name):
    with pytest.raises(ValueError, match="class names that cannot be used: .*; allowed are 1 .. 60 letters") as caught:
        classes.read(tree, ["bees", name])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["t-shirt", "h\xeatre", "\u8682\u8681", "n01440764", "x" * 60, "St. O'Brien (2nd)"])
def test_names_of_any_script_are_taken(tree, name):
    assert classes.read(tree, ["bees", name]).names[name] == name


@pytest.mark.parametrize("names", [["Ants", "ants"], ["fire_ant", "fire ant"], ["STRASSE", "stra\xdfe"]])
def test_names_that_differ_in_case_or_spaces_only_are_one(tree, names):
    with pytest.raises(ValueError, match="give two classes one name"):
        classes.read(tree, names)


def test_a_mac_s_decomposed_folder_is_what_classes_yaml_calls_it(tree):
    name = unicodedata.normalize("NFD", "h\xeatre")
    (tree / "classes.yaml").write_text("classes: {h\xeatre: {description: a tree}}", encoding="utf-8")
    assert classes.read(tree, ["bees", name])[1:3] == ({"bees": "bees", name: "h\xeatre"}, {"h\xeatre": "a tree"})
