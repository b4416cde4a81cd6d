"""Does the server that waits for each chunk to arrive tell which one was held back? Then it lets the rest go."""

from __future__ import annotations

from isochat_conformance.lock_step import Gate


def test_a_gate_tells_which_piece_was_held_back_and_lets_the_rest_go() -> None:
    gate = Gate([b"0", b"1", b"2", b"3"], patience=0.05)
    gate.arrived()
    gate.arrived()
    assert list(gate) == [b"0", b"1", b"2", b"3"]
    assert gate.held_back == 2
