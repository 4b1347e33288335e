"""Pickles as data: whatever Python wrote is read, nothing is run, a broken one is named."""

import os
import pickle
import time
import tracemalloc

import pytest
from one_ref import REF

from keras_cmsa.data.readers import plain_pickle
from keras_cmsa.data.readers.plain_pickle import read_plain_pickle
from keras_cmsa.data.readers.refer import read_refer


class Evil:
    def __reduce__(self):
        return os.system, ("echo executed > executed.txt",)


@pytest.mark.parametrize("protocol", range(6))
def test_hostile_pickle_is_named_and_not_run(one_ref, protocol, monkeypatch):
    monkeypatch.chdir(one_ref.path)
    one_ref.write(refs=pickle.dumps([Evil()], protocol))
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p asks to import posix\.system\."):
        read_refer(one_ref.path)
    assert not (one_ref.path / "executed.txt").exists()


@pytest.mark.parametrize(
    "content, opcode",
    [
        (pickle.dumps([{1, 2}], 4), "EMPTY_SET"),
        (pickle.dumps([(1, 2)], 2), "TUPLE2"),
        (pickle.dumps([b"bytes"], 4), "SHORT_BINBYTES"),
        (b"}" + b")" + b"\x85" * 300_000 + b"Ns.", "EMPTY_TUPLE"),  # its hash would crash
        (b"]Vposix\nVsystem\n(R.", "REDUCE"),
    ],
    ids=lambda x: x if type(x) is str else "",
)
def test_any_object_is_refused(one_ref, content, opcode):
    one_ref.write(refs=content)
    message = rf"refs\(unc\)\.p holds more than plain data \(opcode {opcode}\)"
    with pytest.raises(ValueError, match=message):
        read_refer(one_ref.path)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_gives_the_same(tmp_path, protocol):
    text = "a'b\\\n\tß€"
    data = [True, False, None, -1, 255, 65535, 2**31, -(2**62), 0.5, text]
    data += [[], [text, text], {}, {"a": {1: "b"}, 2.5: []}, "x" * 300]
    path = tmp_path / "data.p"
    path.write_bytes(pickle.dumps(data, protocol))
    assert read_plain_pickle(path) == data


# What Python 2's cPickle writes for [{'raw': u'Café', 'sent': 'caf\xc3\xa9 it\'s', ...}].
PYTHON_2 = {
    0: b"(lp1\n(dp2\nS'raw'\np3\nVCaf\xe9\np4\nsS'sent'\np5\nS\"caf\\xc3\\xa9 it's\"\np6\ns"
    b"S'latin'\nS'caf\\xe9'\nsS'sent_id'\nL31L\nsS'tab'\nS'\\t\\n\\\\'\nsS'is'\nI01\nsa.",
    2: b"\x80\x02]q\x01}q\x02(U\x03rawX\x05\x00\x00\x00Caf\xc3\xa9U\x04sentU\x0acaf\xc3\xa9 it's"
    b"U\x05latinU\x04caf\xe9U\x07sent_id\x8a\x01\x1fU\x03tabT\x03\x00\x00\x00\t\n\\U\x02is\x88ua.",
}


@pytest.mark.parametrize("protocol", PYTHON_2)
def test_pickles_of_python_2(tmp_path, protocol):
    path = tmp_path / "old.p"
    path.write_bytes(PYTHON_2[protocol])
    expected = {"raw": "Café", "sent": "café it's", "latin": "café", "sent_id": 31}
    assert read_plain_pickle(path) == [{**expected, "tab": "\t\n\\", "is": True}]


@pytest.mark.parametrize(
    "content",
    {
        "empty": b"",
        "text": b"<html>404 Not Found</html>",
        "cut short": pickle.dumps([REF], 2)[:-40],
        "text of 4 GB": b"X\xff\xff\xff\xff.",
        "integer of 2 GB": b"\x8b\xff\xff\xff\x7f.",
        "integer of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
        "memo that is not there": b"j\xff\xff\xff\xff.",
        "frame of 2**64 bytes": b"\x95" + b"\xff" * 8 + b"].",
        "nothing on the stack": b"a.",
        "no opcode": b"\xff.",
        "bad utf-8": b"X\x01\x00\x00\x00\xff.",
    }.items(),
    ids=lambda item: item[0],
)
def test_broken_pickle_names_the_file(one_ref, content):
    one_ref.write(refs=content[1])
    started = time.process_time()
    with pytest.raises(
        ValueError, match=r"refs\(unc\)\.p (is not a whole pickle: |holds more than plain data)"
    ):
        read_refer(one_ref.path)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "step", [b"]", b"}", b"\x94", b"(", b"]\x94", b"(l"], ids=lambda x: x.hex()
)
def test_a_file_of_too_many_steps_is_not_read_to_its_end(tmp_path, monkeypatch, step):
    """A byte of each of them takes up to 115 bytes of memory."""
    monkeypatch.setattr(plain_pickle, "MAX_STEPS", 1000)
    path = tmp_path / "steps.p"
    path.write_bytes(b"]" + step * (900 // len(step)) + b"N.")
    read_plain_pickle(path)
    path.write_bytes(b"]" + step * 100_000 + b".")
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"steps\.p takes more than 1,000 steps to read\. "):
        read_plain_pickle(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size * 2 + 300_000


def test_a_large_file_is_not_opened(tmp_path):
    path = tmp_path / "large.p"
    with open(path, "wb") as file:
        file.truncate(plain_pickle.MAX_BYTES + 1)  # takes no room on the disk
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"large\.p has 100,000,001 bytes, more than 100,000,000"):
        read_plain_pickle(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_far_memo_index_costs_no_memory(tmp_path):
    path = tmp_path / "memo.p"
    for content in (b"Nr\xff\xff\xff\xff.", b"Np4294967295\n.", b"NNr\x03\x00\x00\x00."):
        path.write_bytes(content)  # pickle.load would ask for 64 GB
        with pytest.raises(ValueError, match=r"memo\.p has a far memo index\. "):
            read_plain_pickle(path)
