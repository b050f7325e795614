"""The MCP server: finding, suggesting, judging and painting as tools of an assistant."""
