"""What engines and exporters say of themselves: scraped, aged, and never needed."""
