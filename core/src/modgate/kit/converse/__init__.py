"""Other APIs of a conversation, answered by a chat: one mapping, in and out, that both share."""
