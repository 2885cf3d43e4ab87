"""From tokens to nodes, as Go's text/template/parse/parse.go does it, with its error texts."""

from __future__ import annotations

from collections.abc import Callable, Container

from darse.cli.templates import lexer as lex
from darse.cli.templates import nodes
from darse.cli.templates.errors import ParseError
from darse.cli.templates.quoting import quote, unquote

_OPERANDS = frozenset(
    {
        *(lex.BOOL, lex.CHARACTER, lex.COMPLEX, lex.DOT, lex.FIELD, lex.IDENTIFIER, lex.NUMBER, lex.NIL),
        *(lex.RAW_STRING, lex.STRING, lex.VARIABLE, lex.OPEN),
    }
)
_NOT_EXECUTABLE = (nodes.Bool, nodes.Dot, nodes.Nil, nodes.Number, nodes.String)
_LITERALS = (nodes.Bool, nodes.String, nodes.Number, nodes.Nil, nodes.Dot)
_DEEPEST = 1000


def parse(name: str, text: str, functions: Container[str]) -> dict[str, list[nodes.Node]]:
    """The template `name` and those it defines. Raises ParseError."""
    return _Parser(name, text, functions).parse()


def _is_empty(body: list[nodes.Node]) -> bool:
    return all(isinstance(node, nodes.Text) and not node.text.strip() for node in body)


class _Parser:
    def __init__(self, name: str, text: str, functions: Container[str]) -> None:
        self._name = name
        self._functions = functions
        self._lexer = lex.Lexer(text)
        self._pushed: list[lex.Token] = []
        self._last = lex.Token(lex.EOF, 0, "", 1)
        self._variables = ["$"]
        self._action_line = 0
        self._range_depth = 0
        self._depth = 0
        self._trees: dict[str, list[nodes.Node]] = {}

    # Tokens.

    def _next(self) -> lex.Token:
        if self._pushed:
            return self._pushed.pop()
        self._last = self._lexer.next()
        return self._last

    def _back(self, *tokens: lex.Token) -> None:
        """Give tokens back; the first of them comes first again."""
        self._pushed.extend(reversed(tokens))

    def _peek(self) -> lex.Token:
        token = self._next()
        self._back(token)
        return token

    def _next_word(self) -> lex.Token:
        while (token := self._next()).type == lex.SPACE:
            pass
        return token

    def _peek_word(self) -> lex.Token:
        token = self._next_word()
        self._back(token)
        return token

    def _fail(self, message: str) -> ParseError:
        return ParseError(f"template: {self._name}:{self._last.line}: {message}")

    def _unexpected(self, token: lex.Token, context: str) -> ParseError:
        if token.type != lex.ERROR:
            return self._fail(f"unexpected {token.shown()} in {context}")
        extra = ""
        if self._action_line not in (0, token.line):
            extra = f" in action started at {self._name}:{self._action_line}"
            if token.text.endswith(" action"):
                extra = extra.removeprefix(" in action")
        return self._fail(token.text + extra)

    def _expect(self, type_: str, context: str) -> lex.Token:
        token = self._next_word()
        if token.type != type_:
            raise self._unexpected(token, context)
        return token

    # Templates.

    def parse(self) -> dict[str, list[nodes.Node]]:
        body: list[nodes.Node] = []
        while self._peek().type != lex.EOF:
            if self._peek().type == lex.LEFT:
                delimiter = self._next()
                word = self._next_word()
                if word.type == "define":
                    self._definition()
                    continue
                self._back(delimiter, word)
            node = self._text_or_action()
            if isinstance(node, nodes.Keyword) and node.word in ("end", "else"):
                raise self._fail(f"unexpected {node}")
            body.append(node)
        self._add(self._name, body)
        return self._trees

    def _add(self, name: str, body: list[nodes.Node]) -> None:
        if name not in self._trees or _is_empty(self._trees[name]):
            self._trees[name] = body
        elif not _is_empty(body):
            raise self._fail(f"template: multiple definition of template {quote(name)}")

    def _definition(self) -> None:
        name = self._template_name(self._next_word(), "define clause")
        self._expect(lex.RIGHT, "define clause")
        self._add(name, self._own_body("define clause"))

    def _own_body(self, context: str) -> list[nodes.Node]:
        """The body of a definition: variables and ranges around it are not known in it."""
        outside = self._variables, self._range_depth
        self._variables, self._range_depth = ["$"], 0
        body, end = self._list()
        if end.word != "end":
            raise self._fail(f"unexpected {end} in {context}")
        self._variables, self._range_depth = outside
        return body

    def _template_name(self, token: lex.Token, context: str) -> str:
        if token.type not in (lex.STRING, lex.RAW_STRING):
            raise self._unexpected(token, context)
        return self._unquoted(token)

    def _unquoted(self, token: lex.Token) -> str:
        try:
            return unquote(token.text)
        except ValueError as error:
            raise self._fail(str(error)) from error

    def _list(self) -> tuple[list[nodes.Node], nodes.Keyword]:
        body: list[nodes.Node] = []
        while self._peek_word().type != lex.EOF:
            node = self._text_or_action()
            if isinstance(node, nodes.Keyword) and node.word in ("end", "else"):
                return body, node
            body.append(node)
        raise self._fail("unexpected EOF")

    def _text_or_action(self) -> nodes.Node:
        token = self._next_word()
        if token.type == lex.TEXT:
            return nodes.Text(token.position, token.text)
        if token.type != lex.LEFT:
            raise self._unexpected(token, "input")
        self._action_line = token.line
        node = self._action()
        self._action_line = 0
        return node

    # Actions.

    def _action(self) -> nodes.Node:
        token = self._next_word()
        controls: dict[str, Callable[[lex.Token], nodes.Node]] = {
            **{"block": self._block, "template": self._template, "else": self._else, "end": self._end},
            **{"break": self._jump, "continue": self._jump},
            **{"if": self._branch, "range": self._branch, "with": self._branch},
        }
        control = controls.get(token.type)
        if control is not None:
            return control(token)
        self._back(token)
        return nodes.Action(token.position, self._pipeline("command", lex.RIGHT))

    def _jump(self, token: lex.Token) -> nodes.Node:
        after = self._next_word()
        if after.type != lex.RIGHT:
            raise self._unexpected(after, f"{{{{{token.text}}}}}")
        if not self._range_depth:
            raise self._fail(f"{{{{{token.text}}}}} outside {{{{range}}}}")
        return nodes.Keyword(token.position, token.text)

    def _end(self, _token: lex.Token) -> nodes.Node:
        return nodes.Keyword(self._expect(lex.RIGHT, "end").position, "end")

    def _else(self, _token: lex.Token) -> nodes.Node:
        following = self._peek_word()
        if following.type in ("if", "with"):
            return nodes.Keyword(following.position, "else")
        return nodes.Keyword(self._expect(lex.RIGHT, "else").position, "else")

    def _branch(self, token: lex.Token) -> nodes.Node:
        context = token.type
        known = len(self._variables)
        pipe = self._pipeline(context, lex.RIGHT)
        self._range_depth += context == "range"
        then, following = self._list()
        self._range_depth -= context == "range"
        otherwise: list[nodes.Node] | None = None
        if following.word == "else":
            if context in ("if", "with") and self._peek().type == context:
                otherwise = [self._branch(self._next())]
            else:
                otherwise, following = self._list()
                if following.word != "end":
                    raise self._fail(f"expected end; found {following}")
        del self._variables[known:]
        return nodes.Branch(pipe.position, context, pipe, then, otherwise)

    def _block(self, _token: lex.Token) -> nodes.Node:
        token = self._next_word()
        name = self._template_name(token, "block clause")
        pipe = self._pipeline("block clause", lex.RIGHT)
        self._add(name, self._own_body("block clause"))
        return nodes.Call(token.position, name, pipe)

    def _template(self, _token: lex.Token) -> nodes.Node:
        token = self._next_word()
        name = self._template_name(token, "template clause")
        following = self._next_word()
        if following.type == lex.RIGHT:
            return nodes.Call(token.position, name, None)
        self._back(following)
        return nodes.Call(token.position, name, self._pipeline("template clause", lex.RIGHT))

    # Pipelines.

    def _pipeline(self, context: str, end: str) -> nodes.Pipe:
        pipe = nodes.Pipe(self._peek_word().position)
        self._declarations(pipe, context)
        while True:
            token = self._next_word()
            if token.type == end:
                break
            if token.type not in _OPERANDS:
                raise self._unexpected(token, context)
            self._back(token)
            pipe.commands.append(self._command())
        if not pipe.commands:
            raise self._fail(f"missing value for {context}")
        for number, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.operands[0], _NOT_EXECUTABLE):
                raise self._fail(f"non executable command in pipeline stage {number}")
        return pipe

    def _declarations(self, pipe: nodes.Pipe, context: str) -> None:
        while self._peek_word().type == lex.VARIABLE:
            variable = self._next()
            after = self._next()
            following = after if after.type != lex.SPACE else self._next_word()
            is_assignment = following.type in (lex.ASSIGN, lex.DECLARE)
            if not is_assignment and not (following.type == lex.CHAR and following.text == ","):
                self._back(variable, *([after] if after.type == lex.SPACE else []), following)
                return
            pipe.variables.append(nodes.Variable(variable.position, variable.text.split(".")))
            self._variables.append(variable.text)
            if is_assignment:
                pipe.assigns = following.type == lex.ASSIGN
                return
            if context != "range" or len(pipe.variables) >= 2:
                raise self._fail(f"too many declarations in {context}")
            if self._peek_word().type not in (lex.VARIABLE, lex.RIGHT, lex.CLOSE):
                raise self._fail("range can only initialize variables")

    def _command(self) -> nodes.Command:
        command = nodes.Command(self._peek_word().position)
        while True:
            self._skip_spaces()
            operand = self._operand()
            if operand is not None:
                command.operands.append(operand)
            token = self._next()
            if token.type == lex.SPACE:
                continue
            if token.type in (lex.RIGHT, lex.CLOSE):
                self._back(token)
            elif token.type != lex.PIPE:
                raise self._unexpected(token, "operand")
            break
        if not command.operands:
            raise self._fail("empty command")
        return command

    def _skip_spaces(self) -> None:
        self._back(self._next_word())

    def _operand(self) -> nodes.Node | None:
        node = self._term()
        if node is None or self._peek().type != lex.FIELD:
            return node
        position, names = self._peek().position, []
        while self._peek().type == lex.FIELD:
            names.append(self._next().text[1:])
        if isinstance(node, nodes.Field):
            return nodes.Field(position, node.names + names)
        if isinstance(node, nodes.Variable):
            return nodes.Variable(position, node.names + names)
        if isinstance(node, _LITERALS):
            raise self._fail(f"unexpected . after term {quote(str(node))}")
        return nodes.Chain(position, node, names)

    def _term(self) -> nodes.Node | None:
        token = self._next_word()
        position, text = token.position, token.text
        match token.type:
            case lex.IDENTIFIER:
                if text not in self._functions:
                    raise self._fail(f"function {quote(text)} not defined")
                return nodes.Identifier(position, text)
            case lex.DOT:
                return nodes.Dot(position)
            case lex.NIL:
                return nodes.Nil(position)
            case lex.VARIABLE:
                if text not in self._variables:
                    raise self._fail(f"undefined variable {quote(text)}")
                return nodes.Variable(position, [text])
            case lex.FIELD:
                return nodes.Field(position, [text[1:]])
            case lex.BOOL:
                return nodes.Bool(position, text == "true")
            case lex.CHARACTER | lex.COMPLEX | lex.NUMBER:
                try:
                    return nodes.Number(position, text)
                except ValueError as error:
                    raise self._fail(str(error)) from error
            case lex.OPEN:
                if self._depth >= _DEEPEST:
                    raise self._fail("max expression depth exceeded")
                self._depth += 1
                pipe = self._pipeline("parenthesized pipeline", lex.CLOSE)
                self._depth -= 1
                return pipe
            case lex.STRING | lex.RAW_STRING:
                return nodes.String(position, text, self._unquoted(token))
        self._back(token)
        return None
