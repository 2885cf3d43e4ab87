"""The grammar of templates: from tokens to blocks that write, one for each template that a text defines."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from darse.cli.templates.evaluate import (
    Block,
    Execution,
    Fields,
    FunctionCall,
    Jump,
    Operand,
    Pipeline,
    PipelineCommand,
    Plain,
)
from darse.cli.templates.printing import show
from darse.cli.templates.scanner import CONSTANTS, Scanner, Token
from darse.cli.templates.values import CallError, Nil, kind
from darse.quoting import quote, unquote

_INT = 1 << 63


def parse(name: str, text: str, functions: Collection[str]) -> dict[str, Block]:
    """The blocks of a template by name. Raises TemplateError."""
    parser = _Parser(name, text, functions)
    parser.add(name, parser.statements()[0])
    return parser.blocks


class _Parser(Scanner):
    def __init__(self, name: str, text: str, functions: Collection[str]) -> None:
        super().__init__(name, text)
        self._functions = functions
        self.blocks: dict[str, Block] = {}
        self._blank: dict[str, bool] = {}
        # Whether the statements that were read last write nothing, the variables in scope, and the loops around.
        self._is_blank, self._variables, self._loops = True, ["$"], 0

    def statements(self, context: str = "") -> tuple[Block, str]:
        """What writes up to `{{end}}`, `{{else}}` or, without a context, the end of the text; and which of these."""
        parts: list[Block] = []
        is_blank = True
        while True:
            token = self.next()
            word = self.peek().kind if token.kind == "{{" else token.kind
            if word == "define" and not context:
                self._template(self.next().text)
            elif word in ("end", "else", "EOF"):
                self.next()
                if word == "end":
                    self._right("end")
                if word == "EOF" and context:
                    self.fail("unexpected EOF")
                if word != "EOF" and (not context or (word == "else" and context.endswith("clause"))):
                    self.fail(f"unexpected {{{{{word}}}}}" + (f" in {context}" if context else ""))
                self._is_blank = is_blank
                return _sequence(parts), word
            elif word == "text":
                is_blank = is_blank and not token.text.strip()
                parts.append(_text(token.text))
            else:
                is_blank = False
                parts.append(self._statement(word))

    def add(self, name: str, block: Block) -> None:
        """Keep the block that was read last; one that writes nothing may be defined again."""
        if not self._is_blank and not self._blank.get(name, True):
            self.fail(f"template: multiple definition of template {quote(name)}")
        if name not in self.blocks or not self._is_blank:
            self.blocks[name], self._blank[name] = block, self._is_blank

    def _right(self, context: str) -> None:
        """Read the braces that close."""
        if self.peek().kind != "}}":
            self.unexpected(context)
        self.next()

    def _statement(self, word: str) -> Block:
        if word in ("if", "with", "range"):
            return self._branch(self.next().text)
        if word in ("template", "block"):
            return self._template(self.next().text)
        if word not in ("break", "continue"):
            return _action(self._pipeline("command"))
        self.next()
        self._right(f"{{{{{word}}}}}")
        if not self._loops:
            self.fail(f"{{{{{word}}}}} outside {{{{range}}}}")
        return _jump(word)

    def _branch(self, word: str) -> Block:
        outer = len(self._variables)
        pipeline = self._pipeline(word)
        self._loops += word == "range"
        body, end = self.statements(word)
        self._loops -= word == "range"
        otherwise = _sequence(())
        if end == "else" and self.peek().kind in ("if", "with"):
            if self.peek().kind != word:
                self.unexpected("input")
            otherwise = self._branch(self.next().text)  # it reads the end of both
        elif end == "else":
            self._right("else")
            otherwise, end = self.statements(word)
            if end == "else":
                self.fail("expected end; found {{else}}")
        del self._variables[outer:]
        return _loop(pipeline, body, otherwise) if word == "range" else _condition(word, pipeline, body, otherwise)

    def _template(self, word: str) -> Block:
        """`define`, `block` and `template`: the first two define one, the last two call it."""
        context = f"{word} clause"
        if self.peek().kind != "string":
            self.unexpected(context)
        token = self.next()
        name, pipeline = self._unquoted(token.text), None
        if word == "define" or (word == "template" and self.peek().kind == "}}"):
            self._right(context)
        else:
            pipeline = self._pipeline(context)
        if word != "template":
            outer = self._variables, self._loops
            self._variables, self._loops = ["$"], 0
            self.add(name, self.statements(context)[0])
            self._variables, self._loops = outer
        text = f"template {quote(name)} {pipeline.text}" if pipeline else f"template {quote(name)}"
        return _call(Operand(token.position, f"{{{{{text}}}}}"), name, pipeline)

    def _pipeline(self, context: str, closer: str = "}}") -> Pipeline:
        position = self.peek().position
        names, sign = self._declaration(context)
        commands: list[PipelineCommand] = []
        while self.peek().kind != closer:
            commands.append(self._command(context))
            if len(commands) > 1 and isinstance(first := commands[-1].first, Plain) and first.text[0] != "$":
                self.fail(f"non executable command in pipeline stage {len(commands)}")
        self.next()
        if not commands:
            self.fail(f"missing value for {context}")
        text = f"{', '.join(names)} {sign} " if names else ""
        text += " | ".join(command.text for command in commands)
        return Pipeline(position, text, commands, names, sets=sign == "=")

    def _declaration(self, context: str) -> tuple[list[str], str]:
        """The variables that a pipeline declares or sets, and the sign."""
        names: list[str] = []
        while self.peek().kind == "variable" and (sign := self.peek(1).kind) in (":=", "=", ","):
            names.append(self.next().text)
            self._variables.append(names[-1])
            self.next()
            if sign != ",":
                return names, sign
            if context != "range" or len(names) > 1:
                self.fail(f"too many declarations in {context}")
            if self.peek().kind not in ("variable", "}}"):
                self.fail("range can only initialize variables")
        return [], ""

    def _command(self, context: str) -> PipelineCommand:
        words: list[Operand] = []
        position = self.peek().position
        while not words or self.peek().kind not in ("|", "}}", ")"):
            if words and not self.peek().is_apart:
                self.unexpected("operand")
            words.append(self._operand() or self.unexpected("operand" if words else context))
        if self.peek().kind == "|":
            self.next()
        text = " ".join(f"({word.text})" if isinstance(word, Pipeline) else word.text for word in words)
        return PipelineCommand(position, text, words[0], words[1:])

    def _operand(self) -> Operand | None:
        """A value with the fields that follow it; None when the next token begins none."""
        token = self.peek()
        is_field = token.kind == "field"
        base = Plain(token.position, "") if is_field else self._term(token)
        fields: list[Token] = []
        while self.peek().kind == "field" and (not self.peek().is_apart or (is_field and not fields)):
            fields.append(self.next())
        if base is None or not fields:
            return base
        if isinstance(base, Plain) and token.kind not in ("field", "variable"):
            self.fail(f"unexpected . after term {quote(base.text)}")
        text = (f"({base.text})" if token.kind == "(" else base.text) + "".join(field.text for field in fields)
        position = fields[1 if is_field and len(fields) > 1 else 0].position  # of the part after the first
        return Fields(position, text, base, [field.text[1:] for field in fields])

    def _term(self, token: Token) -> Operand | None:
        text, position = token.text, token.position
        if token.kind not in ("(", ".", "variable", "function", "constant", "number", "string", "character"):
            return None
        self.next()
        if token.kind == "(":
            return self._pipeline("parenthesized pipeline", ")")
        if token.kind == "variable" and text not in self._variables:
            self.fail(f"undefined variable {quote(text)}")
        if token.kind in (".", "variable"):
            return Plain(position, text)
        if token.kind == "function":
            if text not in self._functions:
                self.fail(f"function {quote(text)} not defined")
            return FunctionCall(position, text)
        if token.kind == "number":
            return Plain(position, text, self._number(text))
        value: Any = CONSTANTS[text] if token.kind == "constant" else self._unquoted(text)
        if token.kind != "character":
            return Plain(position, text, (value, None))
        if len(value) != 1:
            self.fail(f"malformed character constant: {text}" if value else "invalid syntax")
        code = ord(value)
        code -= 0xDC00 if 0xDC80 <= code < 0xDD00 else 0  # a byte
        return Plain(position, text, (code, code))

    def _unquoted(self, text: str) -> str:
        try:
            return unquote(text)
        except ValueError as error:
            self.fail(str(error))

    def _number(self, text: str) -> tuple[Any, int | None]:
        """The value of a number, and what it is as an integer, if it is one."""
        try:
            value = _value(text)
        except ValueError:
            self.fail(f"illegal number syntax: {quote(text)}")
        is_whole = not value.imag and value == int(value.real)
        if (isinstance(value, float) and not set(text) & set(".eEpP")) or (
            type(value) is int and not -_INT <= value < 2 * _INT
        ):
            self.fail(f"integer overflow: {quote(text)}")
        return value, int(value.real) if is_whole and abs(value.real) < _INT else None


def _value(text: str) -> int | float | complex:
    """A number as Python reads it, but that `017` is octal as in C. Raises ValueError."""
    if text[-1] == "i":
        return complex(text[:-1] + "j") + 0
    digits = text.lstrip("+-").lower()
    try:
        return int(text, 8 if digits[:1] == "0" and digits[1:2] in tuple("01234567_") else 0)
    except ValueError:
        value = float.fromhex(text.replace("_", "")) if digits.startswith("0x") and "p" in digits else float(text)
        if math.isinf(value):
            raise
        return value


def _sequence(parts: Sequence[Block]) -> Block:
    def run(state: Execution, dot: Any) -> None:
        for part in parts:
            part(state, dot)

    return run


def _text(text: str) -> Block:
    return lambda state, _: state.write(text)


def _jump(word: str) -> Block:
    def run(_: Execution, __: Any) -> None:
        raise Jump(word)

    return run


def _action(pipeline: Pipeline) -> Block:
    """Writes a value, unless it goes into a variable."""

    def run(state: Execution, dot: Any) -> None:
        value = pipeline.evaluate(state, dot)
        if not pipeline.names:
            try:
                state.write("<no value>" if value is None else show(value, depth=1))
            except CallError as error:
                state.fail(str(error))

    return run


def _condition(word: str, pipeline: Pipeline, body: Block, otherwise: Block) -> Block:
    """`if` and `with`."""

    def run(state: Execution, dot: Any) -> None:
        outer = len(state.variables)
        value = pipeline.evaluate(state, dot)
        (body if value else otherwise)(state, value if value and word == "with" else dot)
        del state.variables[outer:]

    return run


def _loop(pipeline: Pipeline, body: Block, otherwise: Block) -> Block:
    """`range`"""

    def run(state: Execution, dot: Any) -> None:
        outer, element = len(state.variables), state.element
        value = pipeline.evaluate(state, dot)
        variables = [state.variable(name) for name in pipeline.names]
        inner, is_empty = len(state.variables), True
        for key, item in _items(state, value, len(variables)):
            is_empty = False
            state.step()
            state.element = item if type(value) in (list, dict) else None
            for variable, one in zip(variables, (key, item)[-len(variables) :], strict=False):
                variable[1] = one
            try:
                body(state, item)
            except Jump as jump:
                if jump.args[0] == "break":
                    break
            finally:
                del state.variables[inner:]
        if is_empty:
            otherwise(state, dot)
        state.element = element
        del state.variables[outer:]

    return run


def _items(state: Execution, value: Any, variables: int) -> Iterable[tuple[Any, Any]]:
    """What a `range` goes through, each with its key."""
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted(value)]
    if value is None or isinstance(value, (list, Nil)):
        return enumerate(value if isinstance(value, list) else ())
    if kind(value) != "int":
        state.fail(f"range can't iterate over {show(value)}")
    if variables > 1:
        state.fail(f"can't use {value} to iterate over more than one variable")
    return enumerate(range(value))


def _call(at: Operand, name: str, pipeline: Pipeline | None) -> Block:
    """`template`: another block, with a dot and variables of its own."""

    def run(state: Execution, dot: Any) -> None:
        state.at = at
        state.step()
        if name not in state.blocks:
            state.fail(f"template {quote(name)} not defined")
        value = pipeline.evaluate(state, dot) if pipeline else None
        outer = state.running, state.variables
        state.running, state.variables = name, [["$", value]]
        state.blocks[name](state, value)
        state.running, state.variables = outer

    return run
