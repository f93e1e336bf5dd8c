"""LangGraph programs that leave threads of every kind behind.

Their models are fakes that say what they are given. No program needs a network.
"""

from __future__ import annotations

import contextlib
import operator
import uuid
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

Take = Callable[[float], None]
"""Called where a real program would wait, with the seconds."""


def at_once(_: float) -> None:
    """Do not wait."""


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


class Runs:
    """The configs of one thread's runs, each with a run id."""

    def __init__(self, thread: str, **metadata: str) -> None:
        self.thread = thread
        self.metadata = metadata

    def next(self) -> Any:
        run = uuid.uuid4()
        return {
            "configurable": {"thread_id": self.thread},
            "run_id": run,
            "metadata": {**self.metadata, "run_id": str(run)},
        }

    @property
    def newest(self) -> Any:
        return {"configurable": {"thread_id": self.thread}}


def said(text: str, question: str = "", calls: list[Any] | None = None) -> AIMessage:
    """A model's answer, with the tokens that such a text has roughly."""
    read, written = 180 + len(question) // 4, max(4, len(text) // 4 + 20 * len(calls or []))
    return AIMessage(
        text,
        tool_calls=calls or [],
        usage_metadata={
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": read + written,
        },
        response_metadata={"model_name": "fake-chat-1"},
    )


def call(name: str, **arguments: Any) -> Any:
    return {"name": name, "args": arguments, "id": f"call_{uuid.uuid4().hex[:12]}"}


@tool
def find_order(order: str) -> dict[str, Any]:
    """Look an order up."""
    return {"order": order, "status": "shipped", "carrier": "DHL", "days_late": 4, "total": 89.5}


@tool
def open_claim(order: str, reason: str) -> str:
    """Open a claim with the carrier."""
    return f"claim C-{len(order) * 311} opened for {order}: {reason}"


def agent(saver: Any, answers: list[AIMessage], take: Take = at_once) -> Any:
    """An agent with tools, whose model gives these answers in turn."""
    model = GenericFakeChatModel(messages=iter(answers))

    def ask(state: Chat) -> Any:
        take(1.7)
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(Chat)
    graph.add_node("agent", ask)
    graph.add_node("tools", ToolNode([find_order, open_claim]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    return graph.compile(checkpointer=saver)


def supported(saver: Any, thread: str, take: Take = at_once) -> None:
    """A customer's questions, answered with tools, in three runs."""
    runs = Runs(thread, user="maria", channel="web")
    questions = [
        "Where is my order 4711? It should have been here on Friday.",
        "Can you do something about it?",
        "Thank you. Will I hear from you?",
    ]
    answers = [
        said("", questions[0], [call("find_order", order="4711")]),
        said("Your order 4711 left us on time and is with DHL, four days late. I am sorry."),
        said("I open a claim.", "", [call("open_claim", order="4711", reason="four days late")]),
        said("I have opened claim C-1244 with DHL. They answer within two working days."),
        said("Yes: you get a mail as soon as DHL answers, and at the latest on Thursday."),
    ]
    graph = agent(saver, answers, take)
    system = SystemMessage("You are the support desk of a small bicycle shop. Be brief.")
    for turn, question in enumerate(questions):
        messages: list[BaseMessage] = [system] if turn == 0 else []
        graph.invoke({"messages": [*messages, HumanMessage(question)]}, runs.next())
        take(45)


class Refund(Chat, total=False):
    amount: float
    approved: bool


def refunding(saver: Any, take: Take = at_once) -> Any:
    """An agent that asks a human before it pays."""

    def propose(state: Refund) -> Any:
        take(2.1)
        text = "The order is 12 days late. I propose a refund of 89.50 EUR."
        return {"messages": [said(text)], "amount": 89.5}

    def approve(state: Refund) -> Any:
        question = {
            "question": f"Refund {state['amount']:.2f} EUR to the customer?",
            "order": "2041",
            "choices": ["yes", "no", "half"],
        }
        return {"approved": interrupt(question) == "yes"}

    def pay(state: Refund) -> Any:
        take(0.6)
        done = "The refund is on its way." if state["approved"] else "There is no refund."
        return {"messages": [said(done)]}

    graph = StateGraph(Refund)
    for node in (propose, approve, pay):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "propose")
    graph.add_edge("propose", "approve")
    graph.add_edge("approve", "pay")
    return graph.compile(checkpointer=saver)


def waiting(saver: Any, thread: str, take: Take = at_once) -> None:
    """A thread that waits for a human."""
    runs = Runs(thread, user="jonas", channel="mail")
    question = HumanMessage("My order 2041 is twelve days late. I want my money back.")
    refunding(saver, take).invoke({"messages": [question]}, runs.next())


def resumed(saver: Any, thread: str, take: Take = at_once) -> None:
    """A thread that waited for a human, who answered."""
    waiting(saver, thread, take)
    take(600)
    runs = Runs(thread, user="jonas", channel="mail")
    refunding(saver, take).invoke(Command(resume="yes"), runs.next())


class Release(TypedDict, total=False):
    draft: str
    reviews: Annotated[list[str], operator.add]


def asked_twice(saver: Any, thread: str, take: Take = at_once) -> None:
    """A thread that waits for two humans at once."""

    def write(state: Release) -> Any:
        take(6.4)
        return {"draft": "Our workshop opens on Sundays from January on. Bring your bicycle."}

    def legal(state: Release) -> Any:
        answer = interrupt({"for": "legal", "question": "May this be published?"})
        return {"reviews": [f"legal: {answer}"]}

    def style(state: Release) -> Any:
        answer = interrupt({"for": "press", "question": "Is the tone right?"})
        return {"reviews": [f"press: {answer}"]}

    graph = StateGraph(Release)
    for node in (write, legal, style):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "write")
    graph.add_edge("write", "legal")
    graph.add_edge("write", "style")
    runs = Runs(thread, user="press", channel="desk")
    graph.compile(checkpointer=saver).invoke({"reviews": []}, runs.next())


class Research(TypedDict, total=False):
    subject: str
    sources: Annotated[list[str], operator.add]
    notes: Annotated[list[str], operator.add]
    report: str


class Reading(TypedDict, total=False):
    topic: str
    sources: Annotated[list[str], operator.add]
    notes: Annotated[list[str], operator.add]


def researched(saver: Any, thread: str, take: Take = at_once, *, asks: bool = False) -> None:
    """Subgraphs, one for each topic of a plan; the last one may ask a human."""

    def search(state: Reading) -> Any:
        take(1.2)
        name = state["topic"].replace(" ", "-")
        return {"sources": [f"archive/{name}-{number}.pdf" for number in (1, 2)]}

    def read(state: Reading) -> Any:
        take(3.9)
        if asks and state["topic"] == "noise":
            answer = interrupt(f"The archive on {state['topic']} has a paywall. Buy it for 30 EUR?")
            return {"notes": [f"{state['topic']}: {answer}"]}
        return {"notes": [f"{state['topic']}: two sources agree, figures are in the first."]}

    reader = StateGraph(Reading)
    reader.add_node("search", search)
    reader.add_node("read", read)
    reader.add_edge(START, "search")
    reader.add_edge("search", "read")

    def plan(state: Research) -> Any:
        take(2.5)
        return {"notes": [f"plan for {state['subject']}: cost, noise"]}

    def topics(state: Research) -> list[Send]:
        return [Send("reader", {"topic": topic}) for topic in ("cost", "noise")]

    def report(state: Research) -> Any:
        take(5.2)
        return {"report": f"{state['subject']}: " + " ".join(state["notes"][1:])}

    graph = StateGraph(Research)
    graph.add_node("plan", plan)
    graph.add_node("reader", reader.compile())
    graph.add_node("report", report)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", topics, ["reader"])
    graph.add_edge("reader", "report")
    graph.add_edge("report", END)
    runs = Runs(thread, user="lena", channel="desk")
    graph.compile(checkpointer=saver).invoke({"subject": "heat pumps in old houses"}, runs.next())


class Orders(TypedDict, total=False):
    day: str
    rows: Annotated[list[dict[str, Any]], operator.add]
    checked: Annotated[list[str], operator.add]


def failed(saver: Any, thread: str, take: Take = at_once) -> None:
    """A thread whose last run ended with an error of one of two nodes."""

    def load(state: Orders) -> Any:
        take(0.9)
        rows = [{"order": 4700 + n, "total": 19.9 + n, "country": "DE"} for n in range(12)]
        return {"rows": rows}

    def check_totals(state: Orders) -> Any:
        take(0.2)
        return {"checked": ["totals"]}

    def check_customers(state: Orders) -> Any:
        raise ConnectionError("customers.internal: connection refused after 3 attempts")

    graph = StateGraph(Orders)
    for node in (load, check_totals, check_customers):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "load")
    graph.add_edge("load", "check_totals")
    graph.add_edge("load", "check_customers")
    runs = Runs(thread, user="nightly", channel="cron")
    try:
        graph.compile(checkpointer=saver).invoke({"day": "2026-11-30"}, runs.next())
    except ConnectionError:
        return
    raise AssertionError("the node did not fail")


class Trip(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    city: str
    days: int
    budget: int
    hotel: str


def forked(saver: Any, thread: str, take: Take = at_once) -> None:
    """A thread with three branches: two changes of what was, and a replay."""

    def choose(state: Trip) -> Any:
        take(2.2)
        return {"city": state.get("city", "Lisbon"), "budget": 900}

    def book(state: Trip) -> Any:
        take(3.1)
        return {"hotel": f"Pensão {state['city']} for {state['days']} days"}

    def confirm(state: Trip) -> Any:
        take(1.4)
        return {"messages": [said(f"{state['hotel']}, within {state['budget']} EUR.")]}

    graph = StateGraph(Trip)
    for node in (choose, book, confirm):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "choose")
    graph.add_edge("choose", "book")
    graph.add_edge("book", "confirm")
    built = graph.compile(checkpointer=saver)
    runs = Runs(thread, user="sofia", channel="app")
    built.invoke({"messages": [HumanMessage("A weekend at the sea")], "days": 3}, runs.next())
    history = list(built.get_state_history(runs.newest))
    before_booking = next(state for state in history if state.next == ("book",))
    for change in ({"city": "Porto"}, {"days": 5, "budget": 1500}):
        take(70)
        fork = built.update_state(before_booking.config, change)
        built.invoke(None, {**runs.next(), **fork})
    take(30)
    built.invoke(None, {**runs.next(), **before_booking.config})


def conversation(saver: Any, thread: str, turns: int, take: Take = at_once) -> None:
    """A long conversation, each turn in a run of its own."""
    questions = [f"Question {turn}: what is {turn} times {turn + 1}?" for turn in range(turns)]
    answers = [
        said(f"{turn} times {turn + 1} is {turn * (turn + 1)}. " + "Shall we go on? " * (turn % 4))
        for turn in range(turns)
    ]
    graph = agent(saver, answers, take)
    runs = Runs(thread, user="ada", channel="app")
    for question in questions:
        graph.invoke({"messages": [HumanMessage(question)]}, runs.next())
        take(25)


def large(saver: Any, thread: str, messages: int = 2_000) -> None:
    """A conversation that was moved in, and goes on for four turns."""
    turns = 4
    moved: list[AnyMessage] = []
    for number in range((messages - 2 * turns) // 2):
        moved.append(HumanMessage(f"Question {number} of those before"))
        moved.append(said(f"Answer {number}, which is a sentence of some length, as answers are."))
    runs = Runs(thread, user="ada", channel="app")
    graph = agent(saver, [said(f"Answer in turn {turn}") for turn in range(turns)])
    graph.update_state(runs.newest, {"messages": moved}, as_node="agent")
    for turn in range(turns):
        graph.invoke({"messages": [HumanMessage(f"Question in turn {turn}")]}, runs.next())


SCRIPT = "<script>window.hacked = 1; document.title = 'hacked'</script>"
HOSTILE = [
    SCRIPT,
    '<img src=x onerror="window.hacked = 2">',
    "</pre></table></main></body></html><h1>hacked</h1>",
    "\"' onmouseover='window.hacked = 3' x=\"",
    "javascript:window.hacked=4",
    "{{7*7}} ${7*7} <%= 7*7 %> @window.hacked",
    "a\u202egnp.exe\u2066\u200f\u2069 b",
    "bell\x07 escape\x1b[31m tab\t line\nfeed\r return \x7f \x9b",
    "\ufeff\u200bzero\u00ad\u2028width",
    "https://example.com/?q=<b>&amp;",
    "x" * 5_000,
    "e\u0301" + "\u0300" * 60,
]


def hostile(saver: Any, prefix: str) -> list[str]:
    """Threads whose ids, messages, channels, nodes, tools, metadata and errors are hostile."""
    threads = []
    for number, text in enumerate(HOSTILE):
        # An id of some hundreds of bytes is long; more is refused by the server of some.
        thread = f"{prefix}{number:02} {text[:400]}"
        threads.append(thread)
        calls = [{"name": text[:60], "args": {text[:80]: text}, "id": text[:60]}]

        def node(state: Any, text: str = text, calls: Any = calls) -> Any:
            return {
                "messages": [said(text, calls=calls)],
                "facts": {text: [text, {"deep": text}]},
            }

        def fails(state: Any, text: str = text) -> Any:
            raise ValueError(text)

        def asks(state: Any, text: str = text) -> Any:
            return {"facts": {"answer": interrupt({text: text})}}

        class State(TypedDict, total=False):
            messages: Annotated[list[AnyMessage], add_messages]
            facts: dict[str, Any]

        # Names of nodes may not have these.
        name = text[:60].replace("|", "").replace(":", "")
        graph = StateGraph(State)
        graph.add_node(name, node)
        graph.add_node(f"fails {name}", fails)
        graph.add_node(f"asks {name}", asks)
        graph.add_edge(START, name)
        graph.add_edge(name, f"fails {name}" if number % 2 else f"asks {name}")
        runs = Runs(thread, note=text[:200])
        with contextlib.suppress(ValueError):
            graph.compile(checkpointer=saver).invoke(
                {"messages": [HumanMessage(text, name=text[:40])]}, runs.next()
            )
    return threads


def step_by_step(saver: Any, thread: str) -> Iterator[Any]:
    """A thread that goes on by one turn each time that the next one is asked for."""
    graph = agent(saver, [said(f"Live answer {turn}") for turn in range(20)])
    runs = Runs(thread, user="live", channel="app")
    for turn in range(20):
        yield graph.invoke({"messages": [HumanMessage(f"Live question {turn}")]}, runs.next())
