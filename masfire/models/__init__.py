"""The one door to language models: any OpenAI-compatible endpoint; the local default."""
