"""Records what LangGraph stores of small programs, and what it says of their state."""

import base64
import json
import operator
import sys
import warnings
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from langgraph_checkpoint_redis_rs.serde import RedisSerializer

warnings.simplefilter("ignore")
OUT = sys.argv[1]
json_serde, packed = RedisSerializer(), JsonPlusSerializer()


class S(TypedDict):
    log: Annotated[list, operator.add]


def dump(name, graph, saver, thread, serde="json"):
    tuples = []
    for t in saver.list({"configurable": {"thread_id": thread}}):
        ns = t.config["configurable"]["checkpoint_ns"]
        writes = []
        by_task = {}
        for task_id, channel, value in t.pending_writes:
            by_task.setdefault(task_id, []).append((channel, value))
        stored = saver.writes[(thread, ns, t.checkpoint["id"])]
        for (task_id, idx), (_, channel, value, path) in stored.items():
            value = saver.serde.loads_typed(value)
            kind, blob = (
                json_serde.dumps_write(value)[:2] if serde == "json" else packed.dumps_typed(value)
            )
            writes.append(
                {
                    "task_id": task_id,
                    "task_path": path,
                    "idx": idx,
                    "channel": channel,
                    "type": kind,
                    "blob": base64.b64encode(blob).decode(),
                }
            )
        writes.sort(key=lambda w: (w["task_path"], w["task_id"], w["idx"]))
        parent = t.parent_config and t.parent_config["configurable"]["checkpoint_id"]
        tuples.append(
            {
                "checkpoint_ns": ns,
                "parent": parent,
                "checkpoint": json.loads(json_serde.dumps_json(t.checkpoint)[0]),
                "metadata": t.metadata,
                "writes": writes,
            }
        )
    config = {"configurable": {"thread_id": thread}}
    live = (
        graph.get_state(config, live=True)
        if "live" in graph.get_state.__code__.co_varnames
        else graph.get_state(config)
    )
    says = {
        "next": list(live.next),
        "interrupts": [{"id": i.id, "value": i.value} for i in live.interrupts],
        "errors": [[t.name, str(t.error)] for t in live.tasks if t.error],
        "history": [
            [s.config["configurable"]["checkpoint_id"], list(s.next)]
            for s in graph.get_state_history(config)
        ],
    }
    with open(f"{OUT}/{name}.json", "w") as f:
        json.dump(
            {"thread_id": thread, "langgraph": says, "tuples": tuples}, f, separators=(",", ":")
        )
    print(name, says["next"], says["interrupts"], says["errors"], len(tuples))


def run(name, build, inputs, thread=None, serde="json", **compile_args):
    saver = InMemorySaver()
    graph = build(saver, **compile_args)
    thread = thread or name
    config = {"configurable": {"thread_id": thread}}
    for value in inputs:
        try:
            graph.invoke(value, config)
        except Exception as e:
            print("  raised", repr(e)[:80])
    dump(name, graph, saver, thread, serde)


def simple(saver, **kw):
    g = StateGraph(S)
    g.add_node("a", lambda s: {"log": ["a"]})
    g.add_node("b", lambda s: {"log": ["b"]})
    g.add_edge(START, "a")
    g.add_edge("a", "b")
    g.add_edge("b", END)
    return g.compile(checkpointer=saver, **kw)


run("finished", simple, [{"log": []}])
run("static_breakpoint", simple, [{"log": []}], interrupt_before=["b"])


def ask(question):
    def node(s):
        return {"log": [interrupt(question)]}

    return node


def asks(saver, **kw):
    g = StateGraph(S)
    g.add_node("plan", lambda s: {"log": ["plan"]})
    g.add_node("approve", ask({"question": "Run this?", "plan": "drop"}))
    g.add_edge(START, "plan")
    g.add_edge("plan", "approve")
    return g.compile(checkpointer=saver, **kw)


run("interrupt", asks, [{"log": []}])
run("interrupt_msgpack", asks, [{"log": []}], serde="msgpack")
run("answered", asks, [{"log": []}, Command(resume="yes")])


def two(saver, **kw):
    g = StateGraph(S)
    g.add_node("left", ask("left?"))
    g.add_node("right", ask("right?"))
    g.add_node("done", lambda s: {"log": ["done"]})
    g.add_edge(START, "left")
    g.add_edge(START, "right")
    g.add_edge(["left", "right"], "done")
    return g.compile(checkpointer=saver, **kw)


run("two_interrupts", two, [{"log": []}])


def twice(saver, **kw):
    def node(s):
        x = interrupt("first?")
        y = interrupt("second?")
        return {"log": [x, y]}

    g = StateGraph(S)
    g.add_node("ask", node)
    g.add_edge(START, "ask")
    return g.compile(checkpointer=saver, **kw)


run("second_question", twice, [{"log": []}, Command(resume="one")])


def crash_after_answer(saver, **kw):
    def node(s):
        interrupt("sure?")
        raise KeyboardInterrupt

    g = StateGraph(S)
    g.add_node("ask", node)
    g.add_edge(START, "ask")
    return g.compile(checkpointer=saver, **kw)


def run_killed(name, build):
    saver = InMemorySaver()
    graph = build(saver)
    config = {"configurable": {"thread_id": name}}
    graph.invoke({"log": []}, config)
    try:
        graph.invoke(Command(resume="yes"), config)
    except BaseException as e:
        print("  killed", repr(e))
    dump(name, graph, saver, name)


run_killed("answered_then_killed", crash_after_answer)


def nested(saver, **kw):
    inner = StateGraph(S)
    inner.add_node("sq", lambda s: {"log": ["sq"]})
    inner.add_node("wait", ask("inner?"))
    inner.add_edge(START, "sq")
    inner.add_edge("sq", "wait")
    middle = StateGraph(S)
    middle.add_node("inner", inner.compile())
    middle.add_edge(START, "inner")
    g = StateGraph(S)
    g.add_node("middle", middle.compile())
    g.add_node("join", lambda s: {"log": ["join"]})
    g.add_conditional_edges(
        START, lambda s: [Send("middle", {"log": [1]}), Send("middle", {"log": [2]})]
    )
    g.add_edge("middle", "join")
    return g.compile(checkpointer=saver, **kw)


run("subgraph_interrupts", nested, [{"log": []}])


def persistent(saver, **kw):
    inner = StateGraph(S)
    inner.add_node("wait", ask("kept?"))
    inner.add_edge(START, "wait")
    g = StateGraph(S)
    g.add_node("child", inner.compile(checkpointer=True))
    g.add_edge(START, "child")
    return g.compile(checkpointer=saver, **kw)


run("kept_subgraph_interrupt", persistent, [{"log": []}])


def boom(s):
    raise ValueError("boom \x1b[31m")


def fails(saver, **kw):
    g = StateGraph(S)
    g.add_node("ok", lambda s: {"log": ["ok"]})
    g.add_node("bad", boom)
    g.add_node("ask", ask("and?"))
    g.add_edge(START, "ok")
    g.add_edge("ok", "bad")
    g.add_edge("ok", "ask")
    return g.compile(checkpointer=saver, **kw)


run("error_and_interrupt", fails, [{"log": []}])


@task
def asking(q):
    return interrupt(q)


def functional(saver, **kw):
    @entrypoint(checkpointer=saver)
    def flow(x):
        a = asking("task?").result()
        return a

    return flow


run("functional_interrupt", functional, ["go"])


def functional_done(saver, **kw):
    @entrypoint(checkpointer=saver)
    def flow(x):
        return x

    return flow


run("functional_finished", functional_done, ["go"])


def joins(saver, **kw):
    g = StateGraph(S)
    for n in "abcd":
        g.add_node(n, lambda s, n=n: {"log": [n]})
    g.add_edge(START, "a")
    g.add_edge(START, "b")
    g.add_edge("b", "c")
    g.add_edge(["a", "c"], "d")
    return g.compile(checkpointer=saver, **kw)


run("joins", joins, [{"log": []}])


def loops(saver, **kw):
    g = StateGraph(S)
    g.add_node("again", lambda s: {"log": ["again"]})
    g.add_edge(START, "again")
    g.add_edge("again", "again")
    c = g.compile(checkpointer=saver)
    return c.with_config(recursion_limit=4)


run("step_limit", loops, [{"log": []}])


def handled(saver, **kw):
    g = StateGraph(S)
    g.add_node("bad", boom, error_handler=lambda s: {"log": ["mended"]})
    g.add_edge(START, "bad")
    return g.compile(checkpointer=saver)


run("handled_error", handled, [{"log": []}])


def handler_asks(saver, **kw):
    g = StateGraph(S)
    g.add_node("bad", boom, error_handler=ask("mend?"))
    g.add_edge(START, "bad")
    return g.compile(checkpointer=saver)


run("error_handler_interrupt", handler_asks, [{"log": []}])


def handler_fails(saver, **kw):
    g = StateGraph(S)
    g.add_node("bad", boom, error_handler=boom)
    g.add_edge(START, "bad")
    return g.compile(checkpointer=saver)


run("failed_error_handler", handler_fails, [{"log": []}])


def chat(saver, **kw):
    def model(s):
        if isinstance(s["messages"][-1], ToolMessage):
            return {
                "messages": [
                    AIMessage(
                        [
                            {"type": "thinking", "thinking": "it failed"},
                            {"type": "text", "text": "Sorry,\nno weather."},
                        ],
                        id="ai-2",
                    )
                ]
            }
        return {
            "messages": [
                AIMessage(
                    "Looking \x1b[2J\u202eup",
                    id="ai-1",
                    tool_calls=[
                        {"name": "weather", "args": {"city": "Zürich\x07"}, "id": "call_1"}
                    ],
                    usage_metadata={"input_tokens": 12, "output_tokens": 5, "total_tokens": 17},
                    response_metadata={"model_name": "fake-1"},
                )
            ]
        }

    g = StateGraph(MessagesState)
    g.add_node("model", model)
    g.add_node(
        "tools",
        lambda s: {
            "messages": [
                ToolMessage(
                    "no route\n[9] human (forged)",
                    id="tool-1",
                    name="weather",
                    tool_call_id="call_1",
                    status="error",
                )
            ]
        },
    )
    g.add_edge(START, "model")
    g.add_conditional_edges(
        "model", lambda s: "tools" if s["messages"][-1].tool_calls else END, ["tools", END]
    )
    g.add_edge("tools", "model")
    return g.compile(checkpointer=saver)


run("chat", chat, [{"messages": [HumanMessage("What's the weather?", id="h-1")]}])
