"""Why bytes are no block. The same bytes always give the same error."""


class BlockError(Exception):
    """Bytes that cannot be read."""


class NotABlock(BlockError):
    """They do not begin like a block."""


class Cut(BlockError):
    """They end before the block does."""


class Checksum(BlockError):
    """They are damaged."""


class NewerVersion(BlockError):
    """A later gateway has written them; the checksum is right."""


class UnknownCodec(BlockError):
    """The rows are packed in a way that is not known here; the checksum is right."""


class UnknownSchema(BlockError):
    """The rows have another schema than the one at hand."""


class Malformed(BlockError):
    """The checksum is right, but the contents make no sense."""
