"""The adapters, one a file: `openai.py` is what `adapter: openai` means.

adapters/adapter.py says what such a file holds. Nothing lists them: a file put here is found.
"""
