"""Go's text/template, second step: pieces into a tree of nodes."""

from __future__ import annotations

from dataclasses import dataclass, field

from darse.cli.templates.lexer import Piece, TemplateError, Token, split


@dataclass
class Text:
    """Text as it is."""

    text: str


@dataclass
class Operand:
    """A value: a literal, the dot, a variable, a function, or a pipeline in parentheses; then fields of it."""

    kind: str
    value: object
    fields: list[str] = field(default_factory=list)


@dataclass
class Pipeline:
    """Commands, each a list of operands, the result of one being the last argument of the next."""

    commands: list[list[Operand]]
    variables: list[str] = field(default_factory=list)
    assigns: bool = False


@dataclass
class Action:
    """A pipeline whose value is printed."""

    pipeline: Pipeline


@dataclass
class Branch:
    """if, with or range."""

    kind: str
    pipeline: Pipeline
    body: list[Node]
    otherwise: list[Node]


@dataclass
class Jump:
    """break or continue."""

    kind: str


@dataclass
class Include:
    """{{template "name" pipeline}}."""

    name: str
    pipeline: Pipeline | None


Node = Text | Action | Branch | Jump | Include
_KEYWORDS = frozenset({"if", "else", "end", "range", "with", "define", "block", "template", "break", "continue"})
CONSTANTS: dict[str, object] = {"true": True, "false": False, "nil": None}


class Parser:
    """Reads one template, and the templates that it defines."""

    def __init__(self, template: str, functions: frozenset[str]) -> None:
        self._pieces = split(template)
        self._position = 0
        self._functions = functions
        self._loops = 0
        self.defined: dict[str, list[Node]] = {}

    def parse(self) -> list[Node]:
        """The nodes of the whole template. Raises TemplateError."""
        nodes, ending, piece = self._block()
        if ending is not None:
            raise TemplateError(f"template: :{piece.line}: unexpected {{{{{ending}}}}}")
        return nodes

    def _block(self) -> tuple[list[Node], str | None, Piece]:
        """Read nodes up to {{end}} or {{else}}; say which it was."""
        nodes: list[Node] = []
        while self._position < len(self._pieces):
            piece = self._pieces[self._position]
            self._position += 1
            if piece.text is not None:
                if piece.text:
                    nodes.append(Text(piece.text))
                continue
            words = [token for token in piece.tokens if token.kind != "space"]
            if not words:
                raise TemplateError(f"template: :{piece.line}: missing value for command")
            keyword = words[0].text if words[0].kind == "name" and words[0].text in _KEYWORDS else ""
            if keyword in ("end", "else"):
                return nodes, keyword, piece
            node = self._statement(keyword, piece) if keyword else Action(self._pipeline(piece.tokens, piece.line))
            if node is not None:
                nodes.append(node)
        return nodes, None, self._pieces[-1]

    def _statement(self, keyword: str, piece: Piece) -> Node | None:
        tokens = _after_keyword(piece.tokens)
        line = piece.line
        if keyword in ("if", "with", "range"):
            return self._branch(keyword, tokens, line)
        if keyword in ("break", "continue"):
            if not self._loops:
                raise TemplateError(f"template: :{line}: {{{{{keyword}}}}} outside {{{{range}}}}")
            return Jump(keyword)
        name, rest = self._name(keyword, tokens, line)
        if keyword == "template":
            return Include(name, self._pipeline(rest, line) if _words(rest) else None)
        body, ending, _ = self._block()
        if ending != "end":
            raise TemplateError(f"template: :{line}: unexpected EOF")
        self.defined[name] = body
        return None if keyword == "define" else Include(name, self._pipeline(rest, line))

    def _name(self, keyword: str, tokens: list[Token], line: int) -> tuple[str, list[Token]]:
        words = _words(tokens)
        if not words or words[0].kind != "string":
            raise TemplateError(f"template: :{line}: missing name in {keyword} clause")
        return str(words[0].value), tokens[tokens.index(words[0]) + 1 :]

    def _branch(self, kind: str, tokens: list[Token], line: int) -> Branch:
        if not _words(tokens):
            raise TemplateError(f"template: :{line}: missing value for {kind}")
        pipeline = self._pipeline(tokens, line, in_range=kind == "range")
        self._loops += kind == "range"
        body, ending, piece = self._block()
        self._loops -= kind == "range"
        otherwise: list[Node] = []
        if ending == "else":
            rest = _after_keyword(piece.tokens)
            words = _words(rest)
            if words and words[0].text in ("if", "with"):
                # {{else if}} is an {{if}} in the else, that shares the {{end}}.
                return Branch(kind, pipeline, body, [self._branch(words[0].text, _after_keyword(rest), piece.line)])
            if words:
                raise TemplateError(f"template: :{piece.line}: unexpected <{words[0].text}> in else")
            otherwise, ending, _ = self._block()
        if ending != "end":
            raise TemplateError(f"template: :{line}: unexpected EOF")
        return Branch(kind, pipeline, body, otherwise)

    def _pipeline(self, tokens: list[Token], line: int, *, in_range: bool = False) -> Pipeline:
        variables, assigns, rest = _declaration(tokens, in_range=in_range)
        commands = _Commands(rest, line, self).read()
        return Pipeline(commands, variables, assigns)

    def check_function(self, name: str, line: int) -> None:
        """Raise TemplateError for a function that there is not."""
        if name not in self._functions:
            raise TemplateError(f'template: :{line}: function "{name}" not defined')


def _words(tokens: list[Token]) -> list[Token]:
    return [token for token in tokens if token.kind != "space"]


def _after_keyword(tokens: list[Token]) -> list[Token]:
    first = next(index for index, token in enumerate(tokens) if token.kind != "space")
    return tokens[first + 1 :]


def _declaration(tokens: list[Token], *, in_range: bool) -> tuple[list[str], bool, list[Token]]:
    """Take `$x :=`, `$x =` or, in a range, `$i, $x :=` off the front."""
    words = _words(tokens)
    names: list[str] = []
    index = 0
    while index + 1 < len(words) and words[index].kind == "variable":
        names.append(words[index].text)
        if words[index + 1].kind in ("declare", "assign"):
            sign = words[index + 1]
            return names, sign.kind == "assign", tokens[tokens.index(sign) + 1 :]
        if not (in_range and words[index + 1].text == ","):
            break
        index += 2
    return [], False, tokens


class _Commands:
    """Reads the commands of a pipeline."""

    def __init__(self, tokens: list[Token], line: int, parser: Parser) -> None:
        self._tokens = tokens
        self._line = line
        self._parser = parser
        self._position = 0

    def read(self, *, nested: bool = False) -> list[list[Operand]]:
        """Read up to the end, or to the closing parenthesis when `nested`."""
        commands: list[list[Operand]] = [[]]
        spaced = True
        while self._position < len(self._tokens):
            token = self._tokens[self._position]
            self._position += 1
            if token.kind == "space":
                spaced = True
            elif token.text == ")" and token.kind == "mark":
                if not nested:
                    raise self._error("unexpected right paren")
                return self._checked(commands)
            elif token.text == "|" and token.kind == "mark":
                commands.append([])
                spaced = True
            elif token.kind == "field" and not spaced and commands[-1]:
                commands[-1][-1].fields.append(token.text[1:])
            else:
                commands[-1].append(self._operand(token))
                spaced = False
        if nested:
            raise self._error("unclosed left paren")
        return self._checked(commands)

    def _operand(self, token: Token) -> Operand:
        if token.kind in ("string", "number"):
            return Operand("literal", token.value)
        if token.kind == "field":
            return Operand("dot", None, [token.text[1:]])
        if token.kind == "variable":
            return Operand("variable", token.text)
        if token.text == "." and token.kind == "mark":
            return Operand("dot", None)
        if token.text == "(" and token.kind == "mark":
            return Operand("pipeline", Pipeline(self.read(nested=True)))
        if token.kind == "name" and token.text in CONSTANTS:
            return Operand("literal", CONSTANTS[token.text])
        if token.kind == "name":
            self._parser.check_function(token.text, self._line)
            return Operand("function", token.text)
        raise self._error(f"unexpected <{token.text}> in operand")

    def _checked(self, commands: list[list[Operand]]) -> list[list[Operand]]:
        if not all(commands):
            raise self._error("missing value for command")
        for command in commands[1:]:
            if command[0].kind == "literal":
                raise self._error("non executable command in pipeline stage 2")
        return commands

    def _error(self, text: str) -> TemplateError:
        return TemplateError(f"template: :{self._line}: {text}")
