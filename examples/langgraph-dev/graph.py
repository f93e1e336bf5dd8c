"""A payment that a person approves before it is made."""

from __future__ import annotations

from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class Payment(TypedDict, total=False):
    amount: int
    approved: bool
    receipt: str


def approve(state: Payment) -> Payment:
    """Ask a person, and wait: for minutes or months, over restarts of the server."""
    return {"approved": bool(interrupt(f"Pay {state['amount']}?"))}


def pay(state: Payment) -> Payment:
    """Do what was decided."""
    return {"receipt": f"paid {state['amount']}" if state["approved"] else "refused"}


builder = StateGraph(Payment)
builder.add_node("approve", approve)
builder.add_node("pay", pay)
builder.add_edge(START, "approve")
builder.add_edge("approve", "pay")
builder.add_edge("pay", END)

# Without a checkpointer: the server puts in the one of langgraph.json.
graph = builder.compile()
