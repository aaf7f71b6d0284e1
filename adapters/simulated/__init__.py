"""Simulated backends: one loopback HTTP server that plays every `adapter: simulated` backend.

Traffic reaches it through the ordinary upstream path, so there is one relay path, the real one.

    profile.py   how a backend behaves: pace, tokens, errors, faults
    answers.py   which answers are known, and when one is given wrongly
    text.py      what is said where no answer is known
    shape.py     what the shape of one API is
    chat.py, completions.py, responses.py, messages.py, embeddings.py     these shapes
    kept.py, files.py     responses by id, and uploads
    faults.py    failures on request
    server.py    the server
"""
