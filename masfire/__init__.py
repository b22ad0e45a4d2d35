"""masfire: record, break, judge and guard multi-agent LLM systems."""
