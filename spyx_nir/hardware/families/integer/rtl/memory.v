// A memory with one port to write and one to read. What is read comes one cycle later. What comes of an
// address that is written in the same cycle is not defined: nobody here asks for it.
module memory #(
    parameter BITS = 8,
    parameter WORDS = 16,
    parameter ADDRESS_BITS = 4
) (
    input clk,
    input write,
    input [ADDRESS_BITS-1:0] write_address,
    input [BITS-1:0] write_data,
    input [ADDRESS_BITS-1:0] read_address,
    output reg [BITS-1:0] read_data
);
    (* ram_style = "block", no_rw_check *) reg [BITS-1:0] words [0:WORDS-1];

    always @(posedge clk) begin
        if (write) words[write_address] <= write_data;
        read_data <= words[read_address];
    end
endmodule
