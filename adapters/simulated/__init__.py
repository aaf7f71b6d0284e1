"""Simulated backends: one loopback HTTP server that plays every `adapter: simulated` backend.

Traffic reaches it through the ordinary upstream path, so there is one relay path, the real one.

    profile.py   how a backend behaves: pace, tokens, errors, faults
    answers.py   which answers are known, and when one is given wrongly
    text.py      what is said where no answer is known
    chat.py      the shapes of the chat completions API
    faults.py    failures on request
    server.py    the server
"""
