// For simulators: sends the commands of a file to the network and writes what comes back, both as the
// protocol of a serial port has them (verify_rtl.py). Ticks are clock cycles in which the network worked.
//
//   vvp bench +commands=FILE +answers=FILE
module bench;
    localparam PERIOD = 10;

    reg clk = 0, rst = 1;
    always #(PERIOD / 2) clk = !clk;

    reg in_valid = 0, in_step = 0, out_ready = 1, dump_start = 0, dump_ready = 1;
    reg [1:0] dump_kind = 0;
    reg [15:0] channel = 0, y = 0, x = 0;
    wire in_ready, out_valid, out_step, dump_valid, dump_last;
    wire [31:0] out_class, dump_data;
    network network (
        .clk(clk), .rst(rst), .in_valid(in_valid), .in_ready(in_ready), .in_step(in_step),
        .in_channel(channel[`CHANNEL_BITS-1:0]), .in_y(y[`ROW_BITS-1:0]),
        .in_x(x[`COLUMN_BITS-1:0]),
        .out_valid(out_valid), .out_ready(out_ready), .out_step(out_step),
        .out_class(out_class[`CLASS_BITS-1:0]),
        .dump_start(dump_start), .dump_kind(dump_kind), .dump_valid(dump_valid),
        .dump_ready(dump_ready), .dump_data(dump_data), .dump_last(dump_last)
    );

    reg [8191:0] commands_file, answers_file;
    integer commands, answers, command, c, best;
    reg [31:0] taken = 0, ticks = 0;
    reg [31:0] counts [0:`CLASSES-1];
    wire [31:0] shown = out_class & ((1 << `CLASS_BITS) - 1);

    initial begin
        if (!$value$plusargs("commands=%s", commands_file)) $finish;
        if (!$value$plusargs("answers=%s", answers_file)) $finish;
        commands = $fopen(commands_file, "rb");
        answers = $fopen(answers_file, "wb");
        command = $fgetc(commands);
        while (command >= 0) begin
            case (command)
                "R": reset;
                "E": send_event;
                "S": step;
                "V": begin
                    put("V");
                    if (`CURRENTS > 0) dump(1);
                    dump(2);
                end
                "C": begin
                    best = 0;
                    for (c = 1; c < `CLASSES; c = c + 1) if (counts[c] > counts[best]) best = c;
                    put("C");
                    word(best);
                end
                default: put("?");
            endcase
            command = $fgetc(commands);
        end
        $fclose(answers);
        $finish;
    end

    task put(input [7:0] value);
        $fwrite(answers, "%c", value);
    endtask

    task word(input [31:0] value);
        $fwrite(answers, "%u", value);
    endtask

    // Inputs change at falling edges; a transfer is seen at the rising edge between.
    task transfer;
        begin
            in_valid = 1;
            while (!in_ready) begin
                @(negedge clk);
                ticks = ticks + 1;
            end
            @(negedge clk);
            ticks = ticks + 1;
            in_valid = 0;
        end
    endtask

    task reset;
        begin
            rst = 1;
            @(negedge clk);
            @(negedge clk);
            rst = 0;
            while (!in_ready) @(negedge clk);
            for (c = 0; c < `CLASSES; c = c + 1) counts[c] = 0;
            taken = 0;
            ticks = 0;
            put("R");
        end
    endtask

    task half(output [15:0] value);
        begin
            value[7:0] = $fgetc(commands);
            value[15:8] = $fgetc(commands);
        end
    endtask

    task send_event;
        begin
            half(channel);
            half(y);
            half(x);
            if (channel < `CHANNELS && y < `HEIGHT && x < `WIDTH) begin
                if (taken < `MOST_EVENTS) taken = taken + 1;
                in_step = 0;
                transfer;
            end
        end
    endtask

    task step;
        begin
            in_step = 1;
            transfer;
            while (!(out_valid && out_step)) begin
                if (out_valid) counts[shown] = counts[shown] + 1;
                @(negedge clk);
                ticks = ticks + 1;
            end
            @(negedge clk);
            ticks = ticks + 1;
            put("S");
            word(taken);
            word(ticks);
            taken = 0;
            ticks = 0;
            dump(0);
        end
    endtask

    task dump(input [1:0] kind);
        reg last;
        begin
            dump_kind = kind;
            dump_start = 1;
            @(negedge clk);
            dump_start = 0;
            last = 0;
            while (!last) begin
                if (dump_valid) begin
                    word(dump_data);
                    last = dump_last;
                end
                @(negedge clk);
            end
            @(negedge clk);
        end
    endtask
endmodule
