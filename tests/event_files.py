"""TensorBoard's event files, read back without TensorBoard."""

import importlib
import struct

import pytest


def shown_scalars(folder):
    """What TensorBoard shows of a folder of event files: [(curve, step, value)].

    A file is records of length, checksum, event, checksum. A session that starts with a step hides
    everything from that step on which the files before it hold.
    """
    pytest.importorskip("tensorboardX")
    proto = importlib.import_module("tensorboardX.proto.event_pb2")
    found = []
    for file in sorted(folder.iterdir()):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = proto.Event.FromString(data[at + 12 : at + 12 + length])
            if event.session_log.status == proto.SessionLog.START:
                found = [row for row in found if row[1] < event.step]
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            at += 16 + length
    return found
