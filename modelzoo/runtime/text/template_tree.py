"""A chat template's tree, changed so that it pays for its loops and for what it makes."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

__all__ = ["Paying"]

_PASS = 16  # steps of a loop's pass, whatever is in it


class Paying(NodeTransformer):
    """Makes a template's tree call the sandbox wherever it loops or makes something."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        if node.test is not None:  # a pass that the test leaves out is one too
            node.test = nodes.And(_tick(node, [node.test]), node.test)
        node.body.insert(0, nodes.ExprStmt(_tick(node, node.body)).set_lineno(node.lineno))
        return node

    def visit_Macro(self, node: Any) -> Any:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_tick(node, node.body)).set_lineno(node.lineno))
        return node

    visit_CallBlock = visit_Block = visit_Macro

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return _call("joined", node, node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        sides = [node.expr, *(operand.expr for operand in node.ops)]
        if any(isinstance(side, nodes.Const) for side in sides) and len(sides) == 2:
            # With a constant only a search looks at more than the beginning.
            if node.ops[0].op in ("in", "notin"):
                node.ops[0].expr = _compared(node.ops[0].expr)
            return node
        node.expr = _compared(node.expr)
        for operand in node.ops:
            operand.expr = _compared(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        cut = node.arg
        if not isinstance(cut, nodes.Slice):
            return node
        ends = [
            nodes.Const(None) if end is None else end for end in (cut.start, cut.stop, cut.step)
        ]
        return _call("sliced", node, [node.node, *ends])

    def visit_List(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        return _call("listed", node, [node])

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        return self.visit_List(node) if node.ctx == "load" else node


def _tick(node: nodes.Node, body: list) -> nodes.Call:
    """A call that costs what is in the body."""
    cost = sum(_cost(one) for one in body)
    return _call("tick", node, [nodes.Const(max(_PASS, cost))])


def _cost(node: nodes.Node) -> int:
    own = 1 + len(node.data) // 4 if isinstance(node, nodes.TemplateData) else 1
    return own + sum(_cost(child) for child in node.iter_child_nodes())


def _compared(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _call("compared", node, [node])


def _call(name: str, node: nodes.Node, args: list) -> nodes.Call:
    call = nodes.Call(nodes.EnvironmentAttribute(name), args, [], None, None)
    call.set_lineno(node.lineno)
    return call
