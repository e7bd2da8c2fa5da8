"""The only translators: providers and the runtime to Model, kimi_tools to Toolbox."""
