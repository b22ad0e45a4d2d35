"""Small runnable systems, written as an ordinary team would write them."""
