"""An order desk run by language-model agents, in five architectures."""
