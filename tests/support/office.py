"""A tiny message-passing system and its own adapter, to test the plugin without any framework.

`OFFICE` is the source of a module for pytester: agents pass text on by `say`; what the recorder
returns is what really gets delivered.
"""

OFFICE = """
from collections import defaultdict

from masfire.recorder import current
from masfire.trace.model import Message
from masfire.trace.payload import pack

class Office:
    def __init__(self):
        self.inbox = defaultdict(list)

    def say(self, sender, to, text):
        run = current()
        if run is None:
            self.inbox[to].append(text)
            return
        for step in run.submit(sender, Message((to,), pack(text), "graph")):
            for reader in step.body.to:
                self.inbox[reader].append(step.value)
                run.received(step.step, step.value, by=reader)

    def work(self, text="Order 4 red lamps and 12 chairs for Oslo."):
        self.say("user", "planner", text)
        self.say("planner", "clerk", "Reserve: " + self.inbox["planner"][-1])
        self.say("clerk", "user", "Done: " + self.inbox["clerk"][-1])
        return self.inbox
"""
