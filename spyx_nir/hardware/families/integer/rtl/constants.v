// Numbers of a file, such as weights. What is read comes one cycle later.
module constants #(
    parameter BITS = 8,
    parameter WORDS = 16,
    parameter ADDRESS_BITS = 4,
    parameter FILE = "weights.hex"
) (
    input clk,
    input [ADDRESS_BITS-1:0] read_address,
    output reg [BITS-1:0] read_data
);
    (* rom_style = "block" *) reg [BITS-1:0] words [0:WORDS-1];

    initial $readmemh(FILE, words);

    always @(posedge clk) read_data <= words[read_address];
endmodule
