"""What the tests of conversations share: answers of either API, notes of what does not fit the next one."""

import json

import isochat
from isochat.notes import Notes
from isochat.wire_format.chat_completions import read_completion
from isochat.wire_format.responses import read_response


def chat_answer(**message):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return read_completion({"choices": [choice]})


def responses_answer(*items):
    return read_response({"status": "completed", "output": list(items)})


def said(text):
    """A message among the items of a Responses object."""
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def written(*texts):
    """An item of a following request with these texts of the model."""
    return {"role": "assistant", "content": [{"type": "output_text", "text": text} for text in texts]}


def there_and_back(answer):
    return isochat.ChatResult.from_dict(json.loads(json.dumps(answer.to_dict())))


class Told(Notes):
    """Notes in lists of the test's; what has none may not be noted."""

    def __init__(self, *, unsupported=None, left_out=None, rewritten=None):
        super().__init__("responses")
        self.lists = {"unsupported": unsupported, "left_out": left_out, "rewritten": rewritten}

    def unsupported(self, what, why):
        self._take("unsupported", what)

    def left_out(self, what):
        self._take("left_out", what)

    def rewritten(self, what):
        self._take("rewritten", what)

    def _take(self, kind, what):
        assert self.lists[kind] is not None, f"{kind}: {what}"
        self.lists[kind].append(what)
