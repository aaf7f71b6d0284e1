"""LangChain's standard tests for a chat model, with ChatOpenAI against TEST_API_BASE_URL."""

import os

import httpx
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestChat(ChatModelIntegrationTests):
    @property
    def chat_model_class(self):
        return ChatOpenAI

    @property
    def chat_model_params(self):
        url = os.environ["TEST_API_BASE_URL"]
        return {
            "model": "gpt-4",
            "base_url": url,
            "api_key": "none",
            "stream_usage": True,
            "http_async_client": httpx.AsyncClient(),  # the shared one outlives a test's loop
        }

    @property
    def supports_json_mode(self):
        return True
