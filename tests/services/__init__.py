"""Services that tests start themselves: brokers and schema registries, real ones where they are at hand."""
