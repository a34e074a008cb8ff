"""Mark only what has a colour of its own: a page of code is then a third as many elements.

Names, brackets, spaces and most operators look like the text around them (`book.css`).
"""

from pygments.formatters import HtmlFormatter
from pygments.token import Comment, Generic, Keyword, Literal, Name, Operator, Token
from sphinx.highlighting import PygmentsBridge

COLOURED = (
    Keyword,
    Literal,
    Comment,
    Operator.Word,
    Name.Decorator,
    Name.Function,
    Name.Class,
    Generic,
)


class Sparing(HtmlFormatter):
    """HTML in which a token without a colour is plain text."""

    def format(self, tokensource, outfile):
        """Write the tokens."""
        tokens = (
            (kind if any(kind in group for group in COLOURED) else Token, text)
            for kind, text in tokensource
        )
        return super().format(tokens, outfile)


def setup(app):
    """Take it for all code of the book."""
    PygmentsBridge.html_formatter = Sparing
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
